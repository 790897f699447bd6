"""Latency models: latencies of unmeasured cells, predicted from the work that each cell does."""
