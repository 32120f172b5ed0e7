"""What a turn means: written down as candidates made of what the domain declares and the customer owns, then chosen."""
