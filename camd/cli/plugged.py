"""What `camd check` says of this machine's cameras, from what `camd devices` shows."""

from __future__ import annotations

from collections.abc import Iterator

from camd.camera.asked import FormatNegotiation, unsupported
from camd.cli.findings import CheckFinding, Grade
from camd.config.schema import CameraConfig, Config
from camd.devices.formats import UnsupportedFormat
from camd.devices.listing import DeviceListing, ListedDevice
from camd.model import MatchState, V4l2Source

_MISTAKES = ("no_permission", "taken", "ambiguous", "swapped")  # time does not mend these


def judge_devices(found: DeviceListing, config: Config) -> Iterator[CheckFinding]:
    """Say of each camera of this machine whether it is there, and could be recorded. Pure."""
    entries = {camera.id: camera for camera in config.cameras}
    listed = {one.camera_id: one for one in found.devices if one.camera_id is not None}
    for seat in found.seats:
        entry = entries.get(seat.camera_id, CameraConfig(seat.camera_id, V4l2Source()))
        yield _judge(seat, listed.get(seat.camera_id), entry)
    for one in found.devices:
        if one.camera_id is None:
            text, advice = f"is no camera: {one.reason}", "Look at `camd devices`."
            yield CheckFinding(str(one.device.node), Grade.WARNING, text, advice)


def _judge(seat: MatchState, listed: ListedDevice | None, entry: CameraConfig) -> CheckFinding:
    subject, device = f"camera {seat.camera_id}", seat.device
    trouble = seat.trouble if device is None else device.trouble
    if trouble is not None:
        grade = Grade.PROBLEM if trouble.cause in _MISTAKES else Grade.WARNING
        return CheckFinding(subject, grade, trouble.message, trouble.suggestion)
    if device is None:
        return CheckFinding(subject, Grade.WARNING, seat.reason, "Plug the camera in.")
    where = f"{device.node}, {device.name} ({seat.reason})"
    choice = FormatNegotiation(entry).answer(device.capabilities)
    if isinstance(choice, UnsupportedFormat):
        refused = unsupported(choice)
        return CheckFinding(
            subject, Grade.PROBLEM, f"{where}: {refused.message}", refused.suggestion
        )
    holders = listed.holders.holders if listed is not None else ()
    if holders:
        names = ", ".join(f"{holder.program} (process {holder.pid})" for holder in holders)
        advice = "That may be camd itself; another program keeps it from recording."
        return CheckFinding(subject, Grade.WARNING, f"{where} is open in {names}", advice)
    return CheckFinding(subject, Grade.OK, f"{where}: {choice.why}" if choice else where)
