"""What the shop has written down: ingest, index, retrieval and the pruner."""
