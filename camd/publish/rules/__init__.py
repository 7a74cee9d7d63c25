"""Pure: what MediaMTX's answers mean, who has which path, what viewers are told, when to retry."""
