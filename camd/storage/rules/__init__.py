"""Pure: file names, fill levels of the volume, admission, retention, journal records."""
