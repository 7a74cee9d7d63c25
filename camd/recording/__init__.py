"""Recording sessions: consumers of the hub that write files and account for each frame."""
