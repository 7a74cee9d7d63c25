"""Methods over recorded footage: time lines, playback and exports."""
