"""Two sweeps side by side: which cells correspond, how their latencies differ, and what follows for a choice."""
