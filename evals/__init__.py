"""Cases as data, suites that grade outcomes, and benchmarks against a named baseline."""
