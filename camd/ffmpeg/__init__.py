"""FFmpeg as a program: which one, what it can do, and why it could not open a stream."""
