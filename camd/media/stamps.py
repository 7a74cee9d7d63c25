"""How FFmpeg is told to pass on time stamps that its muxer could not write. Pure.

A muxer writes times that only grow: after a step back FFmpeg gives each frame one tick more than
the one before, and what really happened is lost. So a step is passed on as a step forward by
`MARK_SECONDS`, which no camera makes; whoever reads the fragments knows what it means. Variables
of an expression keep their value from packet to packet, so that the first one holds by how much
stamps are moved (ffmpeg-bitstream-filters(1), setts; ffmpeg-utils(1), expression evaluation).
"""

from __future__ import annotations

MARK_SECONDS = 1000
SOUND_SECONDS = 0.02  # sound goes on so much later: nobody has to be told of its steps
LONGEST_SECONDS = 100  # a step forward by more than this is a mark as well
BACK_SECONDS = 1  # what goes back by less is put behind the one before it
BEGIN_SECONDS = 10  # tracks are moved by so much, so that no time is negative; one that begins
# further from zero than this begins just there


def setts_filter(step_seconds: float = MARK_SECONDS) -> str:
    """Give the bitstream filter for a track that is copied; a step becomes one of so long."""
    step = f"PREV_OUTDTS+{step_seconds:g}/TB"
    decode = _growing("DTS", "eq(DTS,NOPTS)", "PREV_OUTDTS", step)
    delay = "if(eq(PTS,NOPTS)+eq(DTS,NOPTS)+gt(abs(PTS-DTS)*TB,10),0,PTS-DTS)"
    return f"setts=dts='{decode}':pts='{decode}+{delay}'"


def setpts_filter(name: str) -> str:
    """Give the filter (setpts or asetpts) for frames before they are encoded.

    Frames go on a moment later after a step: a filter that keeps a rate, or an encoder, would
    fill the time of a mark.
    """
    grown = _growing("PTS", "isnan(PTS)", "PREV_OUTPTS", "PREV_OUTPTS+0.04/TB")
    return f"{name}='{grown}'"


def _growing(stamp: str, unknown: str, before: str, after_step: str) -> str:
    """Give an expression for `stamp`, moved so that it always grows; `ld(0)` is by how much."""
    moved = f"{stamp}+ld(0)"
    begin = f"{BEGIN_SECONDS}/TB-if(gt(abs({stamp}*TB),{BEGIN_SECONDS}),{stamp},0)"
    steps = f"lt({moved},{before}-{BACK_SECONDS}/TB)+gt({moved},{before}+{LONGEST_SECONDS}/TB)"
    move = f"if(eq(N,0),st(0,{begin}),if({steps},st(0,{after_step}-({stamp})),0))"
    grown = f"if(eq(N,0),{moved},max({moved},{before}+1))"
    known = f"0*({move})+{grown}"
    return f"if({unknown},if(eq(N,0),0,{before}+1),{known})"
