"""Reliable latencies: blocks timed in interleaved rounds, and estimates with confidence intervals."""
