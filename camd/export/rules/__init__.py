"""Pure: which files an export reads, where a new movie begins, what is missing, ranges of bytes."""
