"""Pure: a fast parser of FFmpeg's fragments of one frame, and how they are joined for the files."""
