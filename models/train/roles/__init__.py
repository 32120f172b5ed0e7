"""What each role adapter learns: `samples(data, seed)` gives learnt and held-out pairs and their lineage."""
