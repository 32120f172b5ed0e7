"""Training of the encoder heads and the role adapters: `python -m models.train ROLE`."""
