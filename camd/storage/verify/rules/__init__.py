"""Pure: what is wrong with a file, a session, or the index; when to scrub."""
