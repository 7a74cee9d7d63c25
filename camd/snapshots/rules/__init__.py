"""Pure: which frame a snapshot shows, pictures as bytes, names, and which files are deleted."""
