"""One actor per camera: its state machine, its FFmpeg child, its session, its recorder."""
