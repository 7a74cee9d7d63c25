"""What a camera was asked for, and whether that is what comes."""

from __future__ import annotations

import attrs
import structlog

from camd.config.schema import CameraConfig
from camd.devices.v4l2.formats import FormatRefusal, FormatRequest, choose_format
from camd.model import Capabilities, FormatChoice, Problem, VideoFormat
from camd.model.problems import UNSUPPORTED_FORMAT

log = structlog.get_logger("camd.camera")

MOST_POSSIBLE = 12
FEWEST_FRAMES = 0.9  # of the rate that was asked for


@attrs.frozen
class _Negotiated:
    """What was chosen for a device."""

    to: Capabilities
    answer: FormatChoice | FormatRefusal


@attrs.define(eq=False)
class FormatSelection:
    """One camera's choice, made once per device, and how the stream differs from it."""

    camera: CameraConfig
    misfit: str = attrs.field(default="", init=False)  # a sentence for people; "" when all fits
    _last: _Negotiated | None = attrs.field(default=None, init=False)

    def answer(self, capabilities: Capabilities | None) -> FormatChoice | FormatRefusal | None:
        """Choose for a device; None while nothing is known of one. Cheap when repeated."""
        if capabilities is None:
            return None
        last = self._last
        if last is None or (last.to is not capabilities and last.to != capabilities):
            camera = self.camera
            request = FormatRequest(camera.width, camera.height, camera.fps, camera.codec)
            answer = choose_format(capabilities, request)
            last = self._last = _Negotiated(capabilities, answer)
            self.misfit = ""
            why = answer.why if isinstance(answer, FormatChoice) else answer.message
            log.info("format_chosen", camera=camera.id, why=why)
        return last.answer

    def compare(self, chosen: FormatChoice | None, video: VideoFormat) -> None:
        """Compare what comes with what was asked for: drivers may replace it silently."""
        misfit = _misfit(chosen, video)
        if misfit and misfit != self.misfit:
            log.warning("format_differs_from_request", camera=self.camera.id, what=misfit)
        self.misfit = misfit


def problem_of_refusal(answer: FormatRefusal) -> Problem:
    """Turn a refused request into a camera's problem."""
    possible = answer.possible[:MOST_POSSIBLE]
    if possible:
        suggestion = f"Ask for one of these: {'; '.join(possible)}."
    else:
        suggestion = "Use another camera, or another of its nodes."
    return attrs.evolve(
        UNSUPPORTED_FORMAT, message=answer.message, suggestion=suggestion, possible=possible
    )


def _misfit(chosen: FormatChoice | None, video: VideoFormat) -> str:
    if chosen is None:
        return ""
    asked, came = (chosen.width, chosen.height), (video.width, video.height)
    if all(asked) and all(came) and asked != came:
        return f"The camera was asked for {asked[0]}x{asked[1]} and delivers {came[0]}x{came[1]}"
    if 0.0 < video.fps < FEWEST_FRAMES * chosen.fps:
        return (
            f"The camera was asked for {chosen.fps:g} frames/s and delivers {video.fps:.1f}; "
            "in poor light many cameras expose longer"
        )
    return ""
