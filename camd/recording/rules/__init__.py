"""Pure: a session's accounts and gap ledger, dropped frames, rotation, write backoff."""
