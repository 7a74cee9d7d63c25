"""The index (disposable) and the journal (not disposable) of a recordings folder."""
