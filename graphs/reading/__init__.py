"""What a customer's words say, by the kind of value a field asks for: pure rules, no model."""
