"""Parts of `camd check` that look at one thing each: media server, volume of snapshots, FFmpeg.

`camd.cli.check` puts them together. Each returns findings (`finding.CheckFinding`), raises nothing
and changes nothing.
"""
