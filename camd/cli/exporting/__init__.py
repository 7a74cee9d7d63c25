"""The command `camd export`: downloads with a progress bar, several parts, and receipts."""
