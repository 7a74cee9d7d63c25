"""Pure: fragments of one frame, as FFmpeg writes them, and how they are joined."""
