"""`camd verify` and the scrub: recordings read back and compared with what was recorded."""
