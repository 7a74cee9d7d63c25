"""Commands that need no service: their options and help; what they do is imported when they run."""
