"""The models we ship, and the code that trains them."""
