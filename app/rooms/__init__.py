"""The rooms of the desk: turns, approvals, deliveries and what operators look at."""
