"""Who may come in: signed tokens, API keys, and what each allows."""
