"""Pure: H.264 and H.265 inside an MP4: parameter sets, sample entries, leading pictures."""
