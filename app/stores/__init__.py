"""SQL stores: the shop, the ledger, approvals and the decision log."""
