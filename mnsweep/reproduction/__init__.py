"""The paper's tables: as printed, as computed here, and the verdict."""
