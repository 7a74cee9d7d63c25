"""The cameras and devices while it is decided who has what: who is seated, who is left. Pure.

Changes go through `seat`, `bind` and `drop`, which keep both relations one to one.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from camd.config.schema import CameraConfig
from camd.devices.identity import KnownCamera, PluggedDevice, natural, refresh
from camd.devices.ladder import RecognisedCamera, has_unique_serial, surest
from camd.devices.selectors import permits
from camd.devices.words import MatchMessage, MatchMessageKind
from camd.model import CameraId, MatchedBy, Problem, V4l2Source


@attrs.define(eq=False)
class PartialAssignment:
    """Who has what so far."""

    plugged: tuple[PluggedDevice, ...]
    entries: dict[CameraId, CameraConfig]  # those with a V4L2 source
    reserved: frozenset[CameraId]  # ids of all other entries
    known: dict[CameraId, KnownCamera] = attrs.field(factory=dict)
    matches: dict[CameraId, RecognisedCamera] = attrs.field(factory=dict)
    troubles: dict[CameraId, Problem] = attrs.field(factory=dict)
    offers: dict[CameraId, tuple[PluggedDevice, ...]] = attrs.field(factory=dict)
    suspects: dict[PluggedDevice, list[CameraId]] = attrs.field(
        factory=dict
    )  # it may be one of these
    guarded: dict[PluggedDevice, list[CameraId]] = attrs.field(
        factory=dict
    )  # it is where these were
    given_up: set[CameraId] = attrs.field(factory=set)  # numbers of cameras that got a name
    news: list[MatchMessage] = attrs.field(factory=list)

    @property
    def everybody(self) -> list[KnownCamera]:
        """All known cameras."""
        return list(self.known.values())

    @property
    def absent(self) -> list[KnownCamera]:
        """The known cameras that have no device."""
        return [known for known in self.everybody if known.camera_id not in self.matches]

    @property
    def free(self) -> list[PluggedDevice]:
        """The devices that no camera has."""
        used = {match.plugged for match in self.matches.values()}
        return [plugged for plugged in self.plugged if plugged not in used]

    def holder(self, plugged: PluggedDevice) -> KnownCamera | None:
        """Return the camera that has a device."""
        found = (match.known for match in self.matches.values() if match.plugged is plugged)
        return next(found, None)

    def source(self, camera_id: CameraId) -> V4l2Source | None:
        """Return what the configuration says of a camera."""
        entry = self.entries.get(camera_id)
        return entry.source if entry and isinstance(entry.source, V4l2Source) else None

    def permits(self, known: KnownCamera, plugged: PluggedDevice) -> bool:
        """Tell whether the configuration lets a camera be this device."""
        return permits(self.source(known.camera_id), known, plugged)

    def could_be(self, known: KnownCamera, plugged: PluggedDevice) -> bool:
        """Tell whether an absent camera may be this device, as far as anybody can see."""
        return plugged.identity.alike(known.identity) and self.permits(known, plugged)

    def unique(self, plugged: PluggedDevice) -> bool:
        """Tell whether a free device is a camera of its own by its serial number.

        A camera that the configuration ties to another place cannot be it.
        """
        rivals = [known for known in self.everybody if self.permits(known, plugged)]
        return has_unique_serial(plugged, self.plugged, rivals)

    def tell(self, kind: MatchMessageKind, camera_id: CameraId, text: str) -> None:
        """Add to the news."""
        self.news.append(MatchMessage(kind, camera_id, text))

    def seat(self, match: RecognisedCamera) -> None:
        """Give a known camera its device, and remember how it is now."""
        before, now = match.known.identity, match.plugged.identity
        identity = refresh(before, now, match.plugged.device)
        camera = attrs.evolve(match.known, identity=identity)
        if before.place and not before.same_place(identity):
            text = f"from {before.place} to {identity.place}: {match.reason}"
            self.tell(MatchMessageKind.MOVED, camera.camera_id, text)
        self.known[camera.camera_id] = camera
        self.matches[camera.camera_id] = attrs.evolve(match, known=camera)

    def surest(self, plugged: PluggedDevice) -> MatchedBy | None:
        """Say by what a free device will be recognised, if by anything."""
        return surest(plugged, self.plugged, self.everybody)

    def bind(self, camera_id: CameraId, plugged: PluggedDevice, rung: MatchedBy, why: str) -> None:
        """Give an id that nobody has to a device that nobody has."""
        source = self.source(camera_id)
        selector = str(source) if source is not None else ""
        reason = f"{why}; will be recognised by its {rung.value}"
        self.seat(
            RecognisedCamera(
                KnownCamera(camera_id, plugged.identity, selector), plugged, rung, reason
            )
        )
        self.tell(MatchMessageKind.BOUND, camera_id, f"{plugged.identity.describe()}, {why}")

    def drop(self, camera_id: CameraId, why: str) -> None:
        """Forget a camera."""
        del self.known[camera_id]
        self.matches.pop(camera_id, None)
        self.tell(MatchMessageKind.FORGOTTEN, camera_id, why)

    def suspect(self, camera_id: CameraId, found: Sequence[PluggedDevice]) -> None:
        """Note that free devices may be a camera, so that nobody else gets them."""
        free = self.free
        self.offers[camera_id] = tuple(plugged for plugged in found if plugged in free)
        for plugged in self.offers[camera_id]:
            self.suspects.setdefault(plugged, []).append(camera_id)


def open_assignment(
    plugged: tuple[PluggedDevice, ...],
    known: Sequence[KnownCamera],
    entries: Sequence[CameraConfig],
) -> PartialAssignment:
    """Begin with nobody seated; a binding whose entry says something else by now is dropped."""
    ours = {entry.id: entry for entry in entries if isinstance(entry.source, V4l2Source)}
    seating = PartialAssignment(plugged, ours, frozenset(e.id for e in entries if e.id not in ours))
    for camera in sorted(known, key=lambda camera: natural(camera.camera_id)):
        seating.known.setdefault(camera.camera_id, camera)
    for camera in seating.everybody:
        selector = str(seating.source(camera.camera_id) or "")
        if camera.selector != selector or camera.camera_id in seating.reserved:
            seating.drop(camera.camera_id, "its source in the configuration has changed")
    return seating
