"""Which camera has which device: decided anew at each change, from what is known and plugged. Pure.

A device has one camera and a camera one device. What is known decides first, then what the
configuration says of cameras that were never found; what is left over gets numbers of its own,
unless it might be a camera that is known. Whoever cannot be told apart is not guessed.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from camd.config.schema import CameraConfig
from camd.devices.matching import messages
from camd.devices.matching.identity import (
    DeviceIdentity,
    KnownCamera,
    PluggedDevice,
    allows_adoption,
    designates,
    look,
    natural,
    permits,
    refresh,
)
from camd.devices.matching.messages import MatchMessage, MatchMessageKind
from camd.devices.matching.rules import (
    CameraMatch,
    has_unique_serial,
    recognise,
    recognise_by_name,
    surest,
)
from camd.model import CameraId, Device, DeviceBinding, MatchedBy, Problem, V4l2Source

# --- The cameras and devices while it is decided who has what: who is seated, who is left. Pure.


@attrs.define(eq=False)
class MatchState:
    """Who has what so far."""

    plugged: tuple[PluggedDevice, ...]
    entries: dict[CameraId, CameraConfig]  # those with a V4L2 source
    reserved: frozenset[CameraId]  # ids of all other entries
    known: dict[CameraId, KnownCamera] = attrs.field(factory=dict)
    matches: dict[CameraId, CameraMatch] = attrs.field(factory=dict)
    problems: dict[CameraId, Problem] = attrs.field(factory=dict)
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

    def binding(self, match: CameraMatch) -> None:
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

    def bind(
        self, camera_id: CameraId, plugged: PluggedDevice, matched_by: MatchedBy, why: str
    ) -> None:
        """Give an id that nobody has to a device that nobody has."""
        source = self.source(camera_id)
        selector = str(source) if source is not None else ""
        reason = f"{why}; will be recognised by its {matched_by.value}"
        self.binding(
            CameraMatch(
                KnownCamera(camera_id, plugged.identity, selector), plugged, matched_by, reason
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
) -> MatchState:
    """Begin with nobody seated; a binding whose entry says something else by now is dropped."""
    ours = {entry.id: entry for entry in entries if isinstance(entry.source, V4l2Source)}
    assignment = MatchState(plugged, ours, frozenset(e.id for e in entries if e.id not in ours))
    for camera in sorted(known, key=lambda camera: natural(camera.camera_id)):
        assignment.known.setdefault(camera.camera_id, camera)
    for camera in assignment.everybody:
        selector = str(assignment.source(camera.camera_id) or "")
        if camera.selector != selector or camera.camera_id in assignment.reserved:
            assignment.drop(camera.camera_id, "its source in the configuration has changed")
    return assignment


# --- Which camera has which device.

MOST_CAMERAS = 256  # that are remembered


@attrs.frozen
class UnboundDevice:
    """A device that is no camera at present, and why."""

    device: Device
    reason: str
    candidates: tuple[CameraId, ...] = ()  # the cameras that it may be, or stands in for


@attrs.frozen
class AdoptionOffer:
    """The devices that a camera without one could be given by hand."""

    camera_id: CameraId
    devices: tuple[Device, ...]


@attrs.frozen
class Assignment:
    """Who has what. `known` is to be kept, and given to the next call."""

    bindings: tuple[DeviceBinding, ...] = ()  # the configured cameras, then the others by number
    unbound: tuple[UnboundDevice, ...] = ()
    known: tuple[KnownCamera, ...] = ()
    offers: tuple[AdoptionOffer, ...] = ()
    news: tuple[MatchMessage, ...] = ()  # a trouble is news as long as it lasts

    @property
    def devices(self) -> tuple[Device, ...]:
        """All devices that are plugged in."""
        bound = [binding.device for binding in self.bindings if binding.device is not None]
        return *bound, *(left.device for left in self.unbound)

    def messages_since(self, before: Assignment | None) -> tuple[MatchMessage, ...]:
        """Return the news that were none at the call before."""
        old = before.news if before is not None else ()
        return tuple(item for item in self.news if item not in old)

    def offered(self, camera_id: CameraId) -> tuple[Device, ...]:
        """Return the devices that a camera without one could be given by hand."""
        return next((offer.devices for offer in self.offers if offer.camera_id == camera_id), ())

    def identity(self, camera_id: CameraId) -> DeviceIdentity | None:
        """Return what is remembered of a camera; None when no device was ever bound to it."""
        found = (known.identity for known in self.known if known.camera_id == camera_id)
        return next(found, None)


def assign(
    devices: Sequence[Device],
    known: Sequence[KnownCamera],
    entries: Sequence[CameraConfig],
    *,
    auto: bool = True,
) -> Assignment:
    """Decide which camera has which device.

    `known` is what the last call returned, `entries` are all cameras of the configuration. Without
    `auto` only cameras of the configuration have seats. The order of `devices` plays no part.
    """
    assignment = open_assignment(look(devices), known, entries)
    _recognise(assignment)
    _follow_configuration(assignment)
    everybody, absent, free = assignment.everybody, assignment.absent, assignment.free
    for match in [*recognise_by_name(everybody, absent, free, assignment.permits)]:
        assignment.binding(match)
    _accept_strangers(assignment)
    _recognise(assignment)  # a number that was the replaced camera's as well is unique now
    _judge_the_absent(assignment)
    unbound = _number_newcomers(assignment, auto=auto)
    return _answer(assignment, unbound, auto=auto)


def _recognise(assignment: MatchState) -> None:
    """Seat the known cameras that can be recognised for sure, and have no device yet."""
    absent, free = assignment.absent, assignment.free
    for match in recognise(assignment.everybody, assignment.plugged, assignment.permits):
        if match.known in absent and match.plugged in free:
            assignment.binding(match)


def _follow_configuration(assignment: MatchState) -> None:
    """Look for the cameras that have an entry and were never found.

    A camera that was only numbered gives way; one of another entry, or adopted, does not.
    """
    for camera_id in assignment.entries:
        source = assignment.source(camera_id)
        if source is None or camera_id in assignment.known:
            continue
        found = [plugged for plugged in assignment.plugged if designates(source, plugged)]
        if len(found) > 1:
            assignment.problems[camera_id] = messages.several_fit(camera_id, source, found)
            assignment.suspect(camera_id, found)
        elif found:
            _follow(assignment, camera_id, source, found[0])


def _follow(
    assignment: MatchState, camera_id: CameraId, source: V4l2Source, plugged: PluggedDevice
) -> None:
    """Give a device to the entry that means it."""
    holder = assignment.holder(plugged)
    if holder is not None and (holder.camera_id in assignment.entries or holder.adopted):
        assignment.problems[camera_id] = messages.taken(source, holder.camera_id, plugged)
        return
    if holder is not None:
        assignment.drop(holder.camera_id, f"its device is {camera_id} in the configuration")
        assignment.given_up.add(holder.camera_id)
    matched_by = assignment.surest(plugged)
    if matched_by is None:
        assignment.problems[camera_id] = plugged.device.problem or messages.faceless(plugged)
        assignment.suspect(camera_id, [plugged])
    else:
        assignment.bind(camera_id, plugged, matched_by, f"{source} in the configuration")


# --- strangers at known places ------------------------------------------------------------


def _accept_strangers(assignment: MatchState) -> None:
    """Let other cameras take over where the configuration says so, and it is clear who."""
    takers: dict[PluggedDevice, list[KnownCamera]] = {}
    for known in assignment.absent:
        entry = assignment.entries.get(known.camera_id)
        if entry is not None and entry.swap == "accept":
            found = _strangers_for(assignment, known)
            if len(found) == 1:
                takers.setdefault(found[0], []).append(known)
    for plugged, claimants in takers.items():
        if len(claimants) == 1:
            _take_over(assignment, claimants[0], plugged)


def _strangers_for(assignment: MatchState, known: KnownCamera) -> list[PluggedDevice]:
    """Return the devices that may take over from an absent camera."""
    others = [other for other in assignment.absent if other is not known]
    source = assignment.source(known.camera_id)
    found = [
        plugged
        for plugged in assignment.free
        if plugged.identity.replaces(known.identity)
        and allows_adoption(source, plugged)
        and not any(assignment.could_be(other, plugged) for other in others)
    ]
    same = [p for p in found if p.identity.function == known.identity.function]
    return same if len(found) > 1 else found


def _take_over(assignment: MatchState, known: KnownCamera, plugged: PluggedDevice) -> None:
    reason = f'in place of {known.identity.describe()}, by swap = "accept"'
    matched_by = MatchedBy.PORT if plugged.identity.usb else MatchedBy.PATH
    camera = attrs.evolve(known, identity=plugged.identity, adopted=False)
    assignment.binding(CameraMatch(camera, plugged, matched_by, reason))
    text = f"{plugged.identity.describe()} {reason}"
    assignment.tell(MatchMessageKind.REPLACED, known.camera_id, text)


# --- what is left open --------------------------------------------------------------------


def _judge_the_absent(assignment: MatchState) -> None:
    """Say of each known camera without a device why it has none."""
    free = assignment.free
    for known in assignment.absent:
        camera_id = known.camera_id
        candidates = [plugged for plugged in free if assignment.could_be(known, plugged)]
        standing = [p for p in assignment.plugged if p.identity.replaces(known.identity)]
        if candidates:
            assignment.problems[camera_id] = messages.ambiguous(known, candidates)
            assignment.suspect(camera_id, candidates)
        elif standing:
            _raise_alarm(assignment, known, standing)
        else:
            assignment.problems[camera_id] = messages.absent(known.identity)


def _raise_alarm(
    assignment: MatchState, known: KnownCamera, standing: Sequence[PluggedDevice]
) -> None:
    """Say that a different camera is where a known one was."""
    camera_id, free = known.camera_id, assignment.free
    source = assignment.source(camera_id)
    adoptable = tuple(p for p in standing if allows_adoption(source, p))
    strangers = [p for p in standing if p in free]
    assignment.offers[camera_id] = adoptable
    assignment.problems[camera_id] = messages.swapped(
        known,
        standing,
        can_accept=camera_id in assignment.entries and not all(map(assignment.unique, strangers)),
        can_adopt=bool(adoptable),
    )
    for plugged in strangers:
        assignment.guarded.setdefault(plugged, []).append(camera_id)


def _number_newcomers(assignment: MatchState, *, auto: bool) -> list[UnboundDevice]:
    """Give numbers to the devices that can be no known camera; return those that get none."""
    left = []
    for plugged in assignment.free:
        suspects, guarded = (
            assignment.suspects.get(plugged, []),
            assignment.guarded.get(plugged, []),
        )
        matched_by = assignment.surest(plugged)
        if suspects:
            left.append(UnboundDevice(plugged.device, messages.may_be(suspects), tuple(suspects)))
        elif guarded and not assignment.unique(plugged):
            left.append(UnboundDevice(plugged.device, messages.stands_for(guarded), tuple(guarded)))
        elif not auto:
            left.append(UnboundDevice(plugged.device, messages.NOT_LISTED))
        elif len(assignment.known) >= MOST_CAMERAS:
            left.append(UnboundDevice(plugged.device, f"{MOST_CAMERAS} cameras are known already"))
        elif matched_by is None:
            left.append(UnboundDevice(plugged.device, messages.faceless(plugged).message))
        else:
            assignment.bind(
                _lowest_number(assignment), plugged, matched_by, "new, the lowest free number"
            )
    return left


def _lowest_number(assignment: MatchState) -> CameraId:
    """Return the first number that nobody has; an entry without a source waits for one."""
    number = 0
    while True:
        camera_id = CameraId(f"camera{number}")
        waits = not str(assignment.source(camera_id) or "")
        if waits and camera_id not in {
            *assignment.known,
            *assignment.reserved,
            *assignment.given_up,
        }:
            return camera_id
        number += 1


# --- the answer ---------------------------------------------------------------------------


def _answer(assignment: MatchState, unbound: list[UnboundDevice], *, auto: bool) -> Assignment:
    others = sorted((key for key in assignment.known if key not in assignment.entries), key=natural)
    if not auto:
        hidden = [assignment.matches[key] for key in others if key in assignment.matches]
        unbound += [UnboundDevice(match.plugged.device, messages.NOT_LISTED) for match in hidden]
    listed = [*assignment.entries, *(others if auto else ())]
    bindings = tuple(_binding(assignment, camera_id) for camera_id in listed)
    for binding in bindings:
        if binding.problem is not None and binding.problem.cause in messages.TOLD_PROBLEMS:
            kind = messages.TOLD_PROBLEMS[binding.problem.cause]
            assignment.tell(kind, binding.camera_id, binding.problem.message)
    offers = assignment.offers.items()
    return Assignment(
        bindings,
        tuple(sorted(unbound, key=lambda left: natural(str(left.device.node)))),
        tuple(sorted(assignment.known.values(), key=lambda known: natural(known.camera_id))),
        tuple(
            AdoptionOffer(key, tuple(plugged.device for plugged in found)) for key, found in offers
        ),
        tuple(assignment.news),
    )


def _binding(assignment: MatchState, camera_id: CameraId) -> DeviceBinding:
    match, known = assignment.matches.get(camera_id), assignment.known.get(camera_id)
    binding = DeviceBinding(camera_id, None)
    if known is not None:
        binding = attrs.evolve(
            binding, identity=known.identity.describe(), name=known.identity.name
        )
    if match is not None:
        device, matched_by = match.plugged.device, match.matched_by
        return attrs.evolve(binding, device=device, matched_by=matched_by, reason=match.reason)
    source = assignment.source(camera_id) or V4l2Source()
    problem = assignment.problems.get(camera_id) or messages.unbound(camera_id, source)
    return attrs.evolve(binding, reason=problem.message, problem=problem)


# --- Which camera is which, said by hand: an id is given to a device, or forgotten. Pure.


class AdoptionError(Exception):
    """An id cannot be given to a device; the message says why, for people."""


def adopt(
    now: Assignment, camera_id: CameraId, device: Device, entries: Sequence[CameraConfig]
) -> tuple[KnownCamera, ...]:
    """Give `camera_id` to `device`; return what is known then, for the next `assign`.

    Whoever had the device loses it: a camera that was only numbered is forgotten, one of the
    configuration is absent. An id that nobody has makes a new camera. Raises AdoptionError where
    the configuration says something else, or the device is not there any more.
    """
    source = next((entry.source for entry in entries if entry.id == camera_id), None)
    if source is not None and not isinstance(source, V4l2Source):
        raise AdoptionError(f"{camera_id} is no camera of this machine, by its configuration")
    plugging = (device.node, device.plugged)
    found = (p for p in look(now.devices) if (p.device.node, p.device.plugged) == plugging)
    plugged = next(found, None)
    if plugged is None:
        raise AdoptionError("The device is not plugged in any more")
    if not allows_adoption(source, plugged):
        raise AdoptionError(
            f"{camera_id} is {str(source)!r} in the configuration, and the device is not; "
            "correct the source there"
        )
    holder = next(
        (binding.camera_id for binding in now.bindings if binding.device == plugged.device), None
    )
    others = [known for known in now.known if known.camera_id not in (camera_id, holder)]
    if len(others) >= MOST_CAMERAS:
        raise AdoptionError(f"{MOST_CAMERAS} cameras are known already; forget one first")
    held = now.identity(holder) if holder is not None else None
    selector = str(source) if source is not None else ""
    bound = KnownCamera(camera_id, held or plugged.identity, selector, adopted=True)
    return tuple(sorted((*others, bound), key=lambda known: natural(known.camera_id)))


def forget(known: Sequence[KnownCamera], camera_id: CameraId) -> tuple[KnownCamera, ...]:
    """Forget what was bound to an id; its number is free again."""
    return tuple(camera for camera in known if camera.camera_id != camera_id)
