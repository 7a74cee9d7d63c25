"""The FFmpeg program: finding it, choosing its encoders, and what it says.

Others use `binary` (find and query the program), `encoder_trial` (choose an encoder by trial),
`log_reader` (read what it says while it runs), and the pure modules in `text`. All of them work
with plain values: `camd.capture` reads the configuration and fills them, and a source
(`camd.sources`) builds its own input arguments.
"""
