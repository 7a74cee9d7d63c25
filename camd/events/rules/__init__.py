"""Pure: numbers of events, the history and what is missing in it, filters, lines of the files."""
