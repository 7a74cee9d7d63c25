"""How FFmpeg is told to pass on time stamps that its muxer could not write. Pure.

A muxer writes times that only grow: after a step back FFmpeg gives each frame one tick more than
the one before, and what really happened is lost. So a step is passed on as a step forward by
`MARK_SECONDS`, which no camera makes; the timeline, which gets the fragments, takes it out.
Variables of an expression keep their value from packet to packet, so that the first one holds by
how much stamps are moved (ffmpeg-bitstream-filters(1), setts; ffmpeg-utils(1), expression
evaluation).
"""

from __future__ import annotations

MARK_SECONDS = 1000
SOUND_SECONDS = 0.02  # sound goes on so much later: its steps are not reported
LONGEST_SECONDS = 100  # a step forward by more than this is a mark as well
BACK_SECONDS = 1  # what goes back by less is put behind the one before it
GUESSED_SECONDS = 0.04  # that a picture lasts of which nothing is known
BEGIN_SECONDS = 10  # tracks are moved by so much, so that no time is negative; one that begins
# further from zero than this begins just there


def setts_filter(step_seconds: float = MARK_SECONDS, *, beside_sound: bool = False) -> str:
    """Give the bitstream filter for a track that is copied; a step becomes one of so long.

    FFmpeg's demuxer has no time for the first picture that a server sends, and it gets zero.
    `beside_sound`, which may have begun long before, that shows: it lasts as long as it is said
    to, and ends where the second one begins.
    """
    step = f"PREV_OUTDTS+{step_seconds:g}/TB"
    later = ""
    if beside_sound:
        lasts = f"if(gt(DURATION,0),DURATION,{GUESSED_SECONDS}/TB)"
        late = f"NEXT_DTS-DTS-{lasts}"
        unstamped = f"lte(DTS,0)*gt({late},{lasts}/2)*lt({late},{LONGEST_SECONDS}/TB)"
        later = f"+if({unstamped},{late},0)"
    decode = _growing("DTS", "eq(DTS,NOPTS)", "PREV_OUTDTS", step, later)
    delay = "if(eq(PTS,NOPTS)+eq(DTS,NOPTS)+gt(abs(PTS-DTS)*TB,10),0,PTS-DTS)"
    return f"setts=dts='{decode}':pts='{decode}+{delay}'"


def setpts_filter(name: str) -> str:
    """Give the filter (setpts or asetpts) for frames before they are encoded.

    Frames go on a moment later after a step: a filter that keeps a rate, or an encoder, would
    fill the time of a mark.
    """
    grown = _growing("PTS", "isnan(PTS)", "PREV_OUTPTS", "PREV_OUTPTS+0.04/TB")
    return f"{name}='{grown}'"


def _growing(stamp: str, unknown: str, before: str, after_step: str, later: str = "") -> str:
    """Give an expression for `stamp`, moved so that it always grows; `ld(0)` is by how much.

    `later` is added to the first one of all.
    """
    moved = f"{stamp}+ld(0)"
    begin = f"{BEGIN_SECONDS}/TB-if(gt(abs({stamp}*TB),{BEGIN_SECONDS}),{stamp},0)"
    steps = f"lt({moved},{before}-{BACK_SECONDS}/TB)+gt({moved},{before}+{LONGEST_SECONDS}/TB)"
    move = f"if(eq(N,0),st(0,{begin}),if({steps},st(0,{after_step}-({stamp})),0))"
    grown = f"if(eq(N,0),{moved}{later},max({moved},{before}+1))"
    known = f"0*({move})+{grown}"
    return f"if({unknown},if(eq(N,0),0,{before}+1),{known})"
