"""What `camd check` says of the cameras of this machine: are they there, can they be recorded?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from camd.capture.rules.negotiation import FormatSelection, problem_of_refusal
from camd.cli.checks.finding import CheckFinding, Grade, ok, problem, warning
from camd.cli.checks.host_check import usb_findings
from camd.config.schema import CameraConfig, Config
from camd.devices.listing import DeviceList, ListedDevice
from camd.devices.v4l2.formats import FormatRefusal
from camd.errors import CAMERA_LIMIT
from camd.model import CameraId, DeviceBinding, FormatChoice, ProblemKind
from camd.model.ids import MAX_CAMERAS

Choices = dict[CameraId, FormatChoice | FormatRefusal | None]  # None: nothing is known of a device

# Problems that somebody has to remove; others may go away by themselves.
_LASTING = (
    ProblemKind.NO_PERMISSION,
    ProblemKind.TAKEN,
    ProblemKind.AMBIGUOUS,
    ProblemKind.SWAPPED,
)


def judge_devices(found: DeviceList, config: Config) -> Iterator[CheckFinding]:
    """Judge each camera of this machine: is it there, and can it be recorded? Pure."""
    choices = choose_formats(found.bindings, config)
    listed = {one.camera_id: one for one in found.devices if one.camera_id is not None}
    for binding in found.bindings:
        camera_id = binding.camera_id
        yield _judge_camera(binding, listed.get(camera_id), choices.get(camera_id))
    yield from usb_findings(list(uncompressed_streams(found.bindings, choices)))
    for one in found.devices:
        if one.camera_id is None:
            text, advice = f"is no camera: {one.reason}", "Look at `camd devices`."
            yield warning(str(one.device.node), text, advice)


def choose_formats(bindings: Iterable[DeviceBinding], config: Config) -> Choices:
    """Choose for each camera that has a device what that is asked for. Pure."""
    entries = {camera.id: camera for camera in config.cameras}
    choices: Choices = {}
    for binding in bindings:
        if binding.device is not None:
            entry = entries.get(binding.camera_id, CameraConfig(binding.camera_id))
            answer = FormatSelection(entry).answer(binding.device.capabilities)
            choices[binding.camera_id] = answer
    return choices


def uncompressed_streams(
    bindings: Iterable[DeviceBinding], choices: Choices
) -> Iterator[tuple[str, str, float]]:
    """Yield camera, bus and bytes per second of each stream of USB 2 that is not compressed."""
    for binding in bindings:
        device, choice = binding.device, choices.get(binding.camera_id)
        if device is None or device.usb is None or "-usb2-" not in device.usb.port:
            continue
        if isinstance(choice, FormatChoice) and choice.fourcc in ("YUYV", "UYVY", "NV12"):
            per_pixel = 1.5 if choice.fourcc == "NV12" else 2
            rate = choice.width * choice.height * choice.fps * per_pixel
            yield binding.camera_id, device.usb.port.partition("-usb")[0], rate


def _judge_camera(
    binding: DeviceBinding,
    listed: ListedDevice | None,
    choice: FormatChoice | FormatRefusal | None,
) -> CheckFinding:
    subject, device = f"camera {binding.camera_id}", binding.device
    found = binding.problem if device is None else device.problem
    if found is not None:
        grade = Grade.PROBLEM if found.kind in _LASTING else Grade.WARNING
        return CheckFinding(subject, grade, found.message, found.suggestion)
    if device is None:
        return warning(subject, binding.reason, "Plug the camera in.")
    where = f"{device.node}, {device.name} ({binding.reason})"
    if isinstance(choice, FormatRefusal):
        refused = problem_of_refusal(choice)
        return problem(subject, f"{where}: {refused.message}", refused.suggestion)
    holders = listed.holders.holders if listed is not None else ()
    if holders:
        names = ", ".join(f"{holder.program} (process {holder.pid})" for holder in holders)
        advice = (
            "That may be camd itself. While another program has it open, it cannot be recorded."
        )
        return warning(subject, f"{where} is open in {names}", advice)
    return ok(subject, f"{where}: {choice.why}" if choice else where)


def judge_count(known: Collection[str]) -> Iterator[CheckFinding]:
    """Judge how many cameras there are, configured and found. Pure."""
    if len(known) > MAX_CAMERAS:
        text = f"{len(known)} are known, and {MAX_CAMERAS} are the most that one service has"
        yield problem("cameras", text, CAMERA_LIMIT.suggestion)
