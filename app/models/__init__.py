"""The model gateway: one adapter per kind of server, one profile per role."""
