"""camd records cameras: every frame is in a file, or in the ledger that says why not."""

__version__ = "0.1.0"
