"""FFmpeg's arguments that turn a stream on stdin into H.264 that every browser plays."""

from __future__ import annotations

from camd.ffmpeg.text.encoder_table import Arguments

WIDEST = 1280  # pixels; larger pictures are made smaller
_MOVFLAGS = "frag_keyframe+frag_every_frame+empty_moov+default_base_moof+skip_trailer"


def transcode_arguments(program: str, version: tuple[int, int]) -> Arguments:
    """Build the command that encodes pictures anew and copies the sound, with little delay.

    It reads fragmented MP4 with one header, and writes one fragment for each frame.
    """
    passthrough = "-fps_mode" if version >= (5, 1) else "-vsync"
    return (
        *(program, "-hide_banner", "-nostats", "-loglevel", "error"),
        *("-probesize", "32", "-analyzeduration", "0", "-f", "mov", "-i", "pipe:0"),
        *("-map", "0:v:0", "-map", "0:a:0?", "-c:a", "copy"),
        *("-vf", f"scale=w='min({WIDEST},iw)':h=-2", "-pix_fmt", "yuv420p"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency"),
        *("-force_key_frames", "expr:gte(t,n_forced*1)", passthrough, "passthrough"),
        *("-movflags", _MOVFLAGS, "-use_editlist", "0", "-avoid_negative_ts", "make_non_negative"),
        *("-flush_packets", "1", "-f", "mp4", "pipe:1"),
    )
