"""Pure: FFmpeg's arguments, its output, and what its error lines mean."""
