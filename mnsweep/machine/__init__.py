"""The machine: its facts and fingerprint, what disturbs timing on it, and the lock held while measuring."""
