"""Signalbox as a running product: settings, wiring, adapters, HTTP, command line."""
