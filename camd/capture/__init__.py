"""One camera's stream, whoever uses it: its FFmpeg process, its supervisor, its hub."""
