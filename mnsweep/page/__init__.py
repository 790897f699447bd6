"""A sweep as one self-contained HTML page: it needs no network, and shows plots and tables without scripts too."""
