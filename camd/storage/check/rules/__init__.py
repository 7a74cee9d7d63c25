"""Pure: what can be wrong with a recording, a session or a folder, and what to do."""
