"""Reliable latencies: blocks timed in interleaved rounds, until enough is known."""
