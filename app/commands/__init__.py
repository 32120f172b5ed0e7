"""Groups of commands, a module each; what they need is imported inside them."""
