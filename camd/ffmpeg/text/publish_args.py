"""FFmpeg's arguments to publish fragmented MP4 from its standard input by RTSP, as it is."""

from __future__ import annotations

from camd.ffmpeg.text.encoder_table import Arguments

# What the RTP muxer carries, of the sample entries that camd's captures have.
CARRIED_SOUND = frozenset(("mp4a", "Opus", ".mp3", "ac-3"))
CARRIED_VIDEO = frozenset(
    ("avc1", "avc3", "hvc1", "hev1", "mp4v", "jpeg", "mjpg", "vp08", "vp09", "av01")
)
PACKET_BYTES = "1400"  # larger ones are split again by MediaMTX
# FFmpeg says this line when the server has taken the stream.
ACCEPTED = "Output #0, rtsp"


def publish_arguments(program: str, url: str, *, sound: bool) -> Arguments:
    """Build the command. `url` has no credentials: other users can read arguments.

    The header says everything about the streams, so nothing is analysed and no packet is held back.
    """
    return (
        program,
        *("-hide_banner", "-nostats", "-loglevel", "level+info"),
        *("-fflags", "+nobuffer", "-analyzeduration", "0", "-probesize", "32"),
        *("-f", "mp4", "-i", "pipe:0"),
        *("-map", "0:v:0"),
        *(("-map", "0:a:0") if sound else ()),
        *("-c", "copy", "-max_interleave_delta", "200000"),
        *("-rtsp_transport", "tcp", "-pkt_size", PACKET_BYTES, "-f", "rtsp", url),
    )
