"""Pure: the state table of a capture, format negotiation, time stamps, sound, joining, pre-roll."""
