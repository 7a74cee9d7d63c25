"""What a camera can do, on the wire: what its driver lists, what was chosen, how sure that is."""

from __future__ import annotations

from collections.abc import Iterable

from camd.api import views
from camd.devices.modes import CaptureMode, modes, unreadable
from camd.model import CameraState, CameraStatus, Capabilities, FormatChoice, MatchState

_IN_TROUBLE = (CameraState.RESTING, CameraState.FAULTED)


def capabilities(
    status: CameraStatus, seat: MatchState | None, chosen: FormatChoice | None
) -> views.View:
    """Say what the camera's device offers; of other sources, what they deliver at the moment."""
    device = seat.device if seat else None
    known = device.capabilities if device else None
    can = offered(known) if known is not None else _of_stream(status)
    return can | {
        "chosen": chosen and _choice(chosen),
        "validation_status": _validation(status, seat, known is not None),
    }


def _validation(status: CameraStatus, seat: MatchState | None, known: bool) -> str:
    """How sure it is: what the driver says is provisional until pictures come."""
    if status.state is CameraState.ABSENT or (seat is not None and seat.device is None):
        return "disconnected"
    if status.state in _IN_TROUBLE:
        return "error"
    if status.state is CameraState.STREAMING and status.video is not None:
        return "confirmed"
    return "provisional" if known else "none"


def offered(known: Capabilities) -> views.View:
    """What a driver lists that FFmpeg can read: formats, sizes, rates, and all of them together."""
    every = modes(known)
    sizes = sorted({(mode.width, mode.height) for mode in every}, key=_by_area, reverse=True)
    return {
        "formats": list(dict.fromkeys(mode.input_format for mode in every)),
        "resolutions": _resolutions(sizes),
        "fps_options": _rates(rate for mode in every for rate in _rates_of(mode)),
        "modes": [_mode(mode) for mode in every],
        "unreadable_formats": list(unreadable(known)),
        "driver": known.driver,
    }


def _of_stream(status: CameraStatus) -> views.View:
    video = status.video
    size = views.resolution(video.width, video.height) if video else None
    formats = [views.codec(video.codec)] if video else []
    rates = [round(video.fps, 2)] if video and video.fps else []
    return {
        "formats": formats,
        "resolutions": [size] if size else [],
        "fps_options": rates,
        "modes": [{"format": name, "resolution": size, "fps": rates} for name in formats],
    }


def _mode(mode: CaptureMode) -> views.View:
    view: views.View = {
        "format": mode.input_format,
        "resolution": views.resolution(mode.width, mode.height),
        "fps": _rates(_rates_of(mode)),
    }
    if mode.rates.limits is not None:
        view["fps_range"] = list(mode.rates.limits)
    return view


def _choice(chosen: FormatChoice) -> views.View:
    return {
        "format": chosen.input_format,
        "resolution": views.resolution(chosen.width, chosen.height),
        "fps": round(chosen.fps, 2),
        "copied": chosen.copied,
        "codec": chosen.encoder or chosen.input_format,
        "reason": chosen.why,
    }


def _by_area(size: tuple[int, int]) -> tuple[int, int]:
    return size[0] * size[1], size[0]


def _resolutions(sizes: Iterable[tuple[int, int]]) -> list[str]:
    texts = (views.resolution(width, height) for width, height in sizes)
    return [text for text in texts if text is not None]


def _rates_of(mode: CaptureMode) -> tuple[float, ...]:
    return (*mode.rates.listed, *(mode.rates.limits or ()))


def _rates(rates: Iterable[float]) -> list[float]:
    return sorted({round(rate, 2) for rate in rates}, reverse=True)
