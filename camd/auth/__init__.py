"""Who may call: signed tokens, API keys, roles, and a limit for wrong keys."""
