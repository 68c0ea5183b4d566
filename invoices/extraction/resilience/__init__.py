"""Rate limits, retries, circuit breaker, poll schedule and worker pool for calls to vendors."""
