"""Pure: which files and pieces a range has, playlists of them, the key frames of a strip."""
