"""Pure: what the kernel says of video nodes (V4L2), as values."""
