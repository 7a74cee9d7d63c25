"""The rules of a check, pure: what is wrong with a file, a session, or the index; when to scrub."""
