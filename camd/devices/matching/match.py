"""Assigns devices to cameras, anew at each change: `assign` is the whole decision.

A device has at most one camera, and a camera at most one device. Known cameras are matched first,
then the entries of the configuration that were never bound; devices that are left get new numbers,
unless one of them may be a known camera. Where several pairs are possible, none is chosen: the
camera has the problem `ambiguous`, and `adoption` decides by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from camd.config.schema import CameraConfig
from camd.devices.matching import messages
from camd.devices.matching.identity import (
    DeviceIdentity,
    PluggedDevice,
    RememberedCamera,
    allows_adoption,
    identify_devices,
    natural_sort_key,
    source_permits,
    source_selects,
    update_identity,
)
from camd.devices.matching.messages import BindingMessage, MatchMessageKind
from camd.devices.matching.rules import (
    MatchedCamera,
    has_unique_serial,
    match_by_name,
    match_by_serial_or_place,
    place_rule,
    rule_for_new_camera,
)
from camd.model import CameraId, Device, DeviceBinding, DeviceSelector, MatchedBy, Problem

MOST_CAMERAS = 256  # known cameras


@attrs.frozen
class UnboundDevice:
    """A device that no camera has, and why."""

    device: Device
    reason: str
    candidates: tuple[CameraId, ...] = ()  # the cameras that it may be, or whose place it is at


@attrs.frozen
class Assignment:
    """Which camera has which device. `known` is to be stored, and passed to the next `assign`."""

    bindings: tuple[DeviceBinding, ...] = ()  # the configured cameras, then the others by number
    unbound: tuple[UnboundDevice, ...] = ()
    known: tuple[RememberedCamera, ...] = ()
    adoptable: Mapping[CameraId, tuple[Device, ...]] = attrs.field(factory=dict)
    messages: tuple[BindingMessage, ...] = ()  # a problem is repeated as long as it lasts

    @property
    def devices(self) -> tuple[Device, ...]:
        """All devices that are plugged in."""
        bound = [binding.device for binding in self.bindings if binding.device is not None]
        return *bound, *(left.device for left in self.unbound)

    def messages_since(self, before: Assignment) -> tuple[BindingMessage, ...]:
        """Return the messages that the assignment before did not have."""
        return tuple(message for message in self.messages if message not in before.messages)

    def adoptable_by(self, camera_id: CameraId) -> tuple[Device, ...]:
        """Return the devices that could be bound by hand to a camera that has none."""
        return self.adoptable.get(camera_id, ())

    def identity(self, camera_id: CameraId) -> DeviceIdentity | None:
        """Return a known camera's identity; None when no device was ever bound to the id."""
        found = (known.identity for known in self.known if known.camera_id == camera_id)
        return next(found, None)


def assign(
    devices: Sequence[Device],
    known: Sequence[RememberedCamera],
    entries: Sequence[CameraConfig],
    *,
    auto: bool = True,
) -> Assignment:
    """Decide which camera has which device.

    `known` is what the last call returned, `entries` are all cameras of the configuration. Without
    `auto` only these are listed and get devices. The order of `devices` makes no difference.
    """
    state = _start(identify_devices(devices), known, entries)
    _match_known_cameras(state)
    _match_new_entries(state)
    cameras, absent, free = state.cameras, state.absent, state.free
    for match in [*match_by_name(cameras, absent, free, state.permits)]:
        state.record(match)
    _accept_replacements(state)
    _match_known_cameras(state)  # a replaced camera's serial number may be unique now
    _explain_absent_cameras(state)
    unbound = _number_new_devices(state, auto=auto)
    return _result(state, unbound, auto=auto)


# --- the state of one run of `assign` -----------------------------------------------------


@attrs.define(eq=False)
class MatchContext:
    """The matches, problems and messages so far."""

    plugged: tuple[PluggedDevice, ...]
    entries: dict[CameraId, CameraConfig]  # those with a V4L2 source
    reserved: frozenset[CameraId]  # ids of all other entries
    known: dict[CameraId, RememberedCamera] = attrs.field(factory=dict)
    matches: dict[CameraId, MatchedCamera] = attrs.field(factory=dict)
    problems: dict[CameraId, Problem] = attrs.field(factory=dict)
    adoptable: dict[CameraId, tuple[PluggedDevice, ...]] = attrs.field(factory=dict)
    may_be: dict[PluggedDevice, list[CameraId]] = attrs.field(factory=dict)
    in_place_of: dict[PluggedDevice, list[CameraId]] = attrs.field(factory=dict)
    renamed: set[CameraId] = attrs.field(factory=set)  # numbers whose camera has an entry now
    messages: list[BindingMessage] = attrs.field(factory=list)

    @property
    def cameras(self) -> list[RememberedCamera]:
        """All known cameras."""
        return list(self.known.values())

    @property
    def absent(self) -> list[RememberedCamera]:
        """The known cameras that have no device."""
        return [camera for camera in self.cameras if camera.camera_id not in self.matches]

    @property
    def free(self) -> list[PluggedDevice]:
        """The devices that no camera has."""
        used = {match.plugged for match in self.matches.values()}
        return [plugged for plugged in self.plugged if plugged not in used]

    def source(self, camera_id: CameraId) -> DeviceSelector | None:
        """Return a camera's configured source."""
        entry = self.entries.get(camera_id)
        return entry.source.selector if entry else None

    def permits(self, known: RememberedCamera, plugged: PluggedDevice) -> bool:
        """Tell whether the configuration allows a camera to have this device."""
        return source_permits(self.source(known.camera_id), known, plugged)

    def is_possible(self, known: RememberedCamera, plugged: PluggedDevice) -> bool:
        """Tell whether an absent camera may be this device."""
        same = plugged.identity.same_model_and_serial(known.identity)
        return same and self.permits(known, plugged)

    def is_new_camera(self, plugged: PluggedDevice) -> bool:
        """Tell whether a free device has a serial number that no known camera can have.

        A camera that the configuration ties to another place does not count.
        """
        rivals = [camera for camera in self.cameras if self.permits(camera, plugged)]
        return has_unique_serial(plugged, self.plugged, rivals)

    def rule_for(self, plugged: PluggedDevice) -> MatchedBy | None:
        """Return the rule that will match a free device later, if any will."""
        return rule_for_new_camera(plugged, self.plugged, self.cameras)

    def tell(self, kind: MatchMessageKind, camera_id: CameraId, text: str) -> None:
        """Add a message."""
        self.messages.append(BindingMessage(kind, camera_id, text))

    def record(self, match: MatchedCamera) -> None:
        """Give a camera its device, and update its identity."""
        before, now = match.known.identity, match.plugged.identity
        identity = update_identity(before, now, match.plugged.device)
        camera = attrs.evolve(match.known, identity=identity)
        if before.place and not before.same_place(identity):
            text = f"from {before.place} to {identity.place}: {match.reason}"
            self.tell(MatchMessageKind.MOVED, camera.camera_id, text)
        self.known[camera.camera_id] = camera
        self.matches[camera.camera_id] = attrs.evolve(match, known=camera)

    def bind(self, camera_id: CameraId, plugged: PluggedDevice, rule: MatchedBy, why: str) -> None:
        """Bind a new camera to a free device."""
        camera = RememberedCamera(camera_id, plugged.identity, str(self.source(camera_id) or ""))
        reason = f"{why}; will be recognised by its {rule.value}"
        self.record(MatchedCamera(camera, plugged, rule, reason))
        self.tell(MatchMessageKind.BOUND, camera_id, f"{plugged.identity.describe()}, {why}")

    def forget(self, camera_id: CameraId, why: str) -> None:
        """Delete a known camera."""
        del self.known[camera_id]
        self.matches.pop(camera_id, None)
        self.tell(MatchMessageKind.FORGOTTEN, camera_id, why)

    def mark_ambiguous(self, camera_id: CameraId, found: Sequence[PluggedDevice]) -> None:
        """Note that free devices may be a camera, so that they get no number."""
        free = self.free
        self.adoptable[camera_id] = tuple(plugged for plugged in found if plugged in free)
        for plugged in self.adoptable[camera_id]:
            self.may_be.setdefault(plugged, []).append(camera_id)


def _start(
    plugged: tuple[PluggedDevice, ...],
    known: Sequence[RememberedCamera],
    entries: Sequence[CameraConfig],
) -> MatchContext:
    """Begin without matches; known cameras whose configured source has changed are forgotten."""
    ours = {entry.id: entry for entry in entries if entry.source.selector is not None}
    state = MatchContext(plugged, ours, frozenset(e.id for e in entries if e.id not in ours))
    for camera in sorted(known, key=lambda camera: natural_sort_key(camera.camera_id)):
        state.known.setdefault(camera.camera_id, camera)
    for camera in state.cameras:
        selector = str(state.source(camera.camera_id) or "")
        if camera.selector != selector or camera.camera_id in state.reserved:
            state.forget(camera.camera_id, "its source in the configuration has changed")
    return state


# --- the steps, in the order of `assign` --------------------------------------------------


def _match_known_cameras(state: MatchContext) -> None:
    absent, free = state.absent, state.free
    for match in match_by_serial_or_place(state.cameras, state.plugged, state.permits):
        if match.known in absent and match.plugged in free:
            state.record(match)


def _match_new_entries(state: MatchContext) -> None:
    """Find devices for the entries that were never bound."""
    for camera_id in state.entries:
        source = state.source(camera_id)
        if source is None or camera_id in state.known:
            continue
        found = [plugged for plugged in state.plugged if source_selects(source, plugged)]
        if len(found) > 1:
            state.problems[camera_id] = messages.several_fit(camera_id, source, found)
            state.mark_ambiguous(camera_id, found)
        elif found:
            _bind_entry(state, camera_id, source, found[0])


def _bind_entry(
    state: MatchContext, camera_id: CameraId, source: DeviceSelector, plugged: PluggedDevice
) -> None:
    """Bind an entry to the device that it selects.

    A camera that has only a number loses the device to it; one that is configured or was adopted
    keeps it.
    """
    holder = next((m.known for m in state.matches.values() if m.plugged is plugged), None)
    if holder is not None and (holder.camera_id in state.entries or holder.adopted):
        state.problems[camera_id] = messages.device_taken(source, holder.camera_id, plugged)
        return
    if holder is not None:
        state.forget(holder.camera_id, f"its device is {camera_id} in the configuration")
        state.renamed.add(holder.camera_id)
    rule = state.rule_for(plugged)
    if rule is None:
        state.problems[camera_id] = plugged.device.problem or messages.not_recognisable(plugged)
        state.mark_ambiguous(camera_id, [plugged])
    else:
        state.bind(camera_id, plugged, rule, f"{source} in the configuration")


def _accept_replacements(state: MatchContext) -> None:
    """Give absent cameras with swap = "accept" the new device at their place, if it is clear."""
    claims: dict[PluggedDevice, list[RememberedCamera]] = {}
    for known in state.absent:
        entry = state.entries.get(known.camera_id)
        if entry is not None and entry.swap == "accept":
            found = _replacements(state, known)
            if len(found) == 1:
                claims.setdefault(found[0], []).append(known)
    for plugged, cameras in claims.items():
        if len(cameras) == 1:
            _replace(state, cameras[0], plugged)


def _replacements(state: MatchContext, known: RememberedCamera) -> list[PluggedDevice]:
    """Return the free devices that may take over from an absent camera."""
    others = [other for other in state.absent if other is not known]
    source = state.source(known.camera_id)
    found = [
        plugged
        for plugged in state.free
        if plugged.identity.replaces(known.identity)
        and allows_adoption(source, plugged)
        and not any(state.is_possible(other, plugged) for other in others)
    ]
    same = [p for p in found if p.identity.interface == known.identity.interface]
    return same if len(found) > 1 else found


def _replace(state: MatchContext, known: RememberedCamera, plugged: PluggedDevice) -> None:
    reason = f'in place of {known.identity.describe()}, by swap = "accept"'
    camera = attrs.evolve(known, identity=plugged.identity, adopted=False)
    state.record(MatchedCamera(camera, plugged, place_rule(plugged), reason))
    text = f"{plugged.identity.describe()} {reason}"
    state.tell(MatchMessageKind.REPLACED, known.camera_id, text)


def _explain_absent_cameras(state: MatchContext) -> None:
    """Set the problem of each known camera without a device: ambiguous, swapped or absent."""
    free = state.free
    for known in state.absent:
        camera_id = known.camera_id
        candidates = [plugged for plugged in free if state.is_possible(known, plugged)]
        at_its_place = [p for p in state.plugged if p.identity.replaces(known.identity)]
        if candidates:
            state.problems[camera_id] = messages.ambiguous(known, candidates)
            state.mark_ambiguous(camera_id, candidates)
        elif at_its_place:
            _report_swap(state, known, at_its_place)
        else:
            state.problems[camera_id] = messages.absent(known.identity)


def _report_swap(
    state: MatchContext, known: RememberedCamera, found: Sequence[PluggedDevice]
) -> None:
    camera_id, free = known.camera_id, state.free
    source = state.source(camera_id)
    adoptable = tuple(plugged for plugged in found if allows_adoption(source, plugged))
    unbound = [plugged for plugged in found if plugged in free]
    state.adoptable[camera_id] = adoptable
    state.problems[camera_id] = messages.swapped(
        known,
        found,
        can_accept=camera_id in state.entries and not all(map(state.is_new_camera, unbound)),
        can_adopt=bool(adoptable),
    )
    for plugged in unbound:
        state.in_place_of.setdefault(plugged, []).append(camera_id)


def _number_new_devices(state: MatchContext, *, auto: bool) -> list[UnboundDevice]:
    """Give numbers to the free devices that can be no known camera; return the others."""
    unbound = []
    for plugged in state.free:
        may_be, in_place_of = state.may_be.get(plugged, ()), state.in_place_of.get(plugged, ())
        rule, reason, candidates = state.rule_for(plugged), "", tuple[CameraId, ...]()
        if may_be:
            reason, candidates = messages.may_be_camera(may_be), tuple(may_be)
        elif in_place_of and not state.is_new_camera(plugged):
            reason, candidates = messages.in_place_of(in_place_of), tuple(in_place_of)
        elif not auto:
            reason = messages.NOT_LISTED
        elif len(state.known) >= MOST_CAMERAS:
            reason = f"{MOST_CAMERAS} cameras are known already"
        elif rule is None:
            reason = messages.not_recognisable(plugged).message
        else:
            state.bind(_lowest_number(state), plugged, rule, "new, the lowest free number")
            continue
        unbound.append(UnboundDevice(plugged.device, reason, candidates))
    return unbound


def _lowest_number(state: MatchContext) -> CameraId:
    """Return the first free camera number; an entry with such an id and no source gets it."""
    taken = {*state.known, *state.reserved, *state.renamed}
    number = 0
    while (camera_id := CameraId(f"camera{number}")) in taken or str(state.source(camera_id) or ""):
        number += 1
    return camera_id


def _result(state: MatchContext, unbound: list[UnboundDevice], *, auto: bool) -> Assignment:
    others = sorted((key for key in state.known if key not in state.entries), key=natural_sort_key)
    if not auto:
        hidden = [state.matches[key] for key in others if key in state.matches]
        unbound += [UnboundDevice(match.plugged.device, messages.NOT_LISTED) for match in hidden]
    listed = [*state.entries, *(others if auto else ())]
    bindings = tuple(_binding(state, camera_id) for camera_id in listed)
    for binding in bindings:
        if binding.problem is not None and binding.problem.kind in messages.PROBLEM_MESSAGES:
            kind = messages.PROBLEM_MESSAGES[binding.problem.kind]
            state.tell(kind, binding.camera_id, binding.problem.message)
    return Assignment(
        bindings=bindings,
        unbound=tuple(sorted(unbound, key=lambda left: natural_sort_key(str(left.device.node)))),
        known=tuple(sorted(state.cameras, key=lambda known: natural_sort_key(known.camera_id))),
        adoptable={key: tuple(p.device for p in found) for key, found in state.adoptable.items()},
        messages=tuple(state.messages),
    )


def _binding(state: MatchContext, camera_id: CameraId) -> DeviceBinding:
    match, known = state.matches.get(camera_id), state.known.get(camera_id)
    binding = DeviceBinding(
        camera_id,
        None,
        identity=known.identity.describe() if known is not None else "",
        name=known.identity.name if known is not None else "",
    )
    if match is not None:
        device, rule = match.plugged.device, match.matched_by
        return attrs.evolve(binding, device=device, matched_by=rule, reason=match.reason)
    source = state.source(camera_id) or DeviceSelector()
    problem = state.problems.get(camera_id) or messages.never_found(camera_id, source)
    return attrs.evolve(binding, reason=problem.message, problem=problem)
