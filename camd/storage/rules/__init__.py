"""Pure: decisions and formats of storage: names, levels, clock trust, retention, records, rows."""
