"""Other people's systems: their APIs and their MCP servers, each with its time-outs, retries and circuit breaker."""
