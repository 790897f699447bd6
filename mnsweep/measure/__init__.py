"""Latency that can be trusted: a worker that times, rounds that interleave, an estimate with intervals."""
