"""The paper's tables: printed values, computed values and verdicts."""
