"""Pure: decisions and formats of storage: names, levels, admission, retention, records, rows."""
