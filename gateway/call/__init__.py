"""The call itself: attempts and failover, circuit breakers, health, cache, conversations, batches, wire formats."""
