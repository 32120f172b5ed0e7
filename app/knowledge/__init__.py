"""What the shop has written down: ingest, index, retrieval and the pruner."""

#: The collection that customers' questions are answered from.
ANSWERING = "knowledge"
