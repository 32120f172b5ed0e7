"""Halden's own REST service: what a provider's customer system would be, small enough to read."""
