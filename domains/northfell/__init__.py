"""The demo shop: an outdoor outfitter with orders, invoices, plans and refunds."""
