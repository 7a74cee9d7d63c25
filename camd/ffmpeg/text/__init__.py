"""Pure: FFmpeg's arguments and output as text.

`args` builds argument lists, `encoder_table` holds the encoders and their options, `output` parses
what FFmpeg prints, `error_patterns` maps error lines to problems, `rtsp_messages` does the same for
a server's own answers, and `redact` removes credentials from any text.
"""
