"""Pure: the state table of a capture, its time stamps, its sound, its pre-roll."""
