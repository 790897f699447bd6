"""Latencies that were not measured, predicted from work."""
