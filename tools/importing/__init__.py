"""A business's own operations as configuration: documents that describe an API, and the overlay that a person confirms."""
