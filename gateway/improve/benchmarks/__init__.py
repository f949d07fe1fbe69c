"""Benchmarks: prompts asked of several models through the gateway, scored and compared."""
