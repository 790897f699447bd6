"""Latencies with confidence intervals, estimated from timed blocks. Pure: times nothing, reads and writes nothing."""
