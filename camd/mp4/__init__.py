"""Pure: ISO base media files (ISO/IEC 14496-12).

`boxes` splits and builds boxes, `init` parses a movie box and `fragments` a fragmented stream;
`restamp` gives a fragment other times. `segment` is the layout of camd's files, with its
`segment_metadata`, its movie boxes (`moov`) and their `sample_tables`. `inspect` reads a sealed
file back, and `recover` an interrupted one. `h26x` knows H.264 and H.265.
"""
