"""The FFmpeg program: finding it, choosing its encoders, and explaining why a stream failed.

Others use `binary` (find and query the program), `encoder_trial` (choose an encoder by trial),
`rtsp_probe` (ask a server why its stream could not be opened), and the pure modules in `text`. All
of them work with plain values: `camd.capture` reads the configuration and fills them.
"""
