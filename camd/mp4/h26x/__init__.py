"""Pure: H.264 and H.265 in MP4.

`parameter_sets` parses NAL units and parameter sets, `sample_entry` the header that contains them,
`reheader` follows their changes in a stream, and `leading_pictures` counts the frames at the
beginning of a file that cannot be shown.
"""
