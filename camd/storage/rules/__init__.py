"""Pure: names, levels, admission, journal and index records, the retention plan."""
