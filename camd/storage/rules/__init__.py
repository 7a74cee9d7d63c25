"""Decisions and formats of storage, pure: names, levels, clock trust, retention, records, rows."""
