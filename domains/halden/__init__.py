"""Halden Fibre: a business of configuration files, and the little service behind it."""
