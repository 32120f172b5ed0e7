"""Businesses: one folder each."""
