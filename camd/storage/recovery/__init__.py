"""Files after a crash, and a folder compared with its index."""
