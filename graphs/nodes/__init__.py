"""The verbs of the support graph, one module a lane."""
