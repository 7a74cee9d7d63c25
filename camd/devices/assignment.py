"""Which camera has which device: decided anew at each change, from what is known and plugged. Pure.

A device has one camera and a camera one device. What is known decides first, then what the
configuration says of cameras that were never found; what is left over gets numbers of its own,
unless it might be a camera that is known. Whoever cannot be told apart is not guessed.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from camd.config.schema import CameraConfig
from camd.devices import words
from camd.devices.identity import DeviceIdentity, KnownCamera, PluggedDevice, look, natural
from camd.devices.ladder import RecognisedCamera, recognise, recognise_by_name
from camd.devices.seating import PartialAssignment, open_assignment
from camd.devices.selectors import allows_adoption, designates
from camd.devices.words import MatchMessage, MatchMessageKind
from camd.model import CameraId, Device, MatchedBy, MatchState, V4l2Source

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

    seats: tuple[MatchState, ...] = ()  # the configured cameras, then the others by number
    unseated: tuple[UnboundDevice, ...] = ()
    known: tuple[KnownCamera, ...] = ()
    offers: tuple[AdoptionOffer, ...] = ()
    news: tuple[MatchMessage, ...] = ()  # a trouble is news as long as it lasts

    @property
    def devices(self) -> tuple[Device, ...]:
        """All devices that are plugged in."""
        seated = [seat.device for seat in self.seats if seat.device is not None]
        return *seated, *(left.device for left in self.unseated)

    def news_since(self, before: Assignment | None) -> tuple[MatchMessage, ...]:
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
    seating = open_assignment(look(devices), known, entries)
    _recognise(seating)
    _follow_configuration(seating)
    everybody, absent, free = seating.everybody, seating.absent, seating.free
    for match in [*recognise_by_name(everybody, absent, free, seating.permits)]:
        seating.seat(match)
    _accept_strangers(seating)
    _recognise(seating)  # a number that was the replaced camera's as well is unique now
    _judge_the_absent(seating)
    unseated = _number_newcomers(seating, auto=auto)
    return _answer(seating, unseated, auto=auto)


def _recognise(seating: PartialAssignment) -> None:
    """Seat the known cameras that can be recognised for sure, and have no device yet."""
    absent, free = seating.absent, seating.free
    for match in recognise(seating.everybody, seating.plugged, seating.permits):
        if match.known in absent and match.plugged in free:
            seating.seat(match)


def _follow_configuration(seating: PartialAssignment) -> None:
    """Look for the cameras that have an entry and were never found.

    A camera that was only numbered gives way; one of another entry, or adopted, does not.
    """
    for camera_id in seating.entries:
        source = seating.source(camera_id)
        if source is None or camera_id in seating.known:
            continue
        found = [plugged for plugged in seating.plugged if designates(source, plugged)]
        if len(found) > 1:
            seating.troubles[camera_id] = words.several_fit(camera_id, source, found)
            seating.suspect(camera_id, found)
        elif found:
            _follow(seating, camera_id, source, found[0])


def _follow(
    seating: PartialAssignment, camera_id: CameraId, source: V4l2Source, plugged: PluggedDevice
) -> None:
    """Give a device to the entry that means it."""
    holder = seating.holder(plugged)
    if holder is not None and (holder.camera_id in seating.entries or holder.adopted):
        seating.troubles[camera_id] = words.taken(source, holder.camera_id, plugged)
        return
    if holder is not None:
        seating.drop(holder.camera_id, f"its device is {camera_id} in the configuration")
        seating.given_up.add(holder.camera_id)
    rung = seating.surest(plugged)
    if rung is None:
        seating.troubles[camera_id] = plugged.device.trouble or words.faceless(plugged)
        seating.suspect(camera_id, [plugged])
    else:
        seating.bind(camera_id, plugged, rung, f"{source} in the configuration")


# --- strangers at known places ------------------------------------------------------------


def _accept_strangers(seating: PartialAssignment) -> None:
    """Let other cameras take over where the configuration says so, and it is clear who."""
    takers: dict[PluggedDevice, list[KnownCamera]] = {}
    for known in seating.absent:
        entry = seating.entries.get(known.camera_id)
        if entry is not None and entry.swap == "accept":
            found = _strangers_for(seating, known)
            if len(found) == 1:
                takers.setdefault(found[0], []).append(known)
    for plugged, claimants in takers.items():
        if len(claimants) == 1:
            _take_over(seating, claimants[0], plugged)


def _strangers_for(seating: PartialAssignment, known: KnownCamera) -> list[PluggedDevice]:
    """Return the devices that may take over from an absent camera."""
    others = [other for other in seating.absent if other is not known]
    source = seating.source(known.camera_id)
    found = [
        plugged
        for plugged in seating.free
        if plugged.identity.replaces(known.identity)
        and allows_adoption(source, plugged)
        and not any(seating.could_be(other, plugged) for other in others)
    ]
    same = [p for p in found if p.identity.function == known.identity.function]
    return same if len(found) > 1 else found


def _take_over(seating: PartialAssignment, known: KnownCamera, plugged: PluggedDevice) -> None:
    reason = f'in place of {known.identity.describe()}, by swap = "accept"'
    rung = MatchedBy.PORT if plugged.identity.usb else MatchedBy.PATH
    camera = attrs.evolve(known, identity=plugged.identity, adopted=False)
    seating.seat(RecognisedCamera(camera, plugged, rung, reason))
    text = f"{plugged.identity.describe()} {reason}"
    seating.tell(MatchMessageKind.REPLACED, known.camera_id, text)


# --- what is left open --------------------------------------------------------------------


def _judge_the_absent(seating: PartialAssignment) -> None:
    """Say of each known camera without a device why it has none."""
    free = seating.free
    for known in seating.absent:
        camera_id = known.camera_id
        candidates = [plugged for plugged in free if seating.could_be(known, plugged)]
        standing = [p for p in seating.plugged if p.identity.replaces(known.identity)]
        if candidates:
            seating.troubles[camera_id] = words.ambiguous(known, candidates)
            seating.suspect(camera_id, candidates)
        elif standing:
            _raise_alarm(seating, known, standing)
        else:
            seating.troubles[camera_id] = words.absent(known.identity)


def _raise_alarm(
    seating: PartialAssignment, known: KnownCamera, standing: Sequence[PluggedDevice]
) -> None:
    """Say that a different camera is where a known one was."""
    camera_id, free = known.camera_id, seating.free
    source = seating.source(camera_id)
    adoptable = tuple(p for p in standing if allows_adoption(source, p))
    strangers = [p for p in standing if p in free]
    seating.offers[camera_id] = adoptable
    seating.troubles[camera_id] = words.swapped(
        known,
        standing,
        can_accept=camera_id in seating.entries and not all(map(seating.unique, strangers)),
        can_adopt=bool(adoptable),
    )
    for plugged in strangers:
        seating.guarded.setdefault(plugged, []).append(camera_id)


def _number_newcomers(seating: PartialAssignment, *, auto: bool) -> list[UnboundDevice]:
    """Give numbers to the devices that can be no known camera; return those that get none."""
    left = []
    for plugged in seating.free:
        suspects, guarded = seating.suspects.get(plugged, []), seating.guarded.get(plugged, [])
        rung = seating.surest(plugged)
        if suspects:
            left.append(UnboundDevice(plugged.device, words.may_be(suspects), tuple(suspects)))
        elif guarded and not seating.unique(plugged):
            left.append(UnboundDevice(plugged.device, words.stands_for(guarded), tuple(guarded)))
        elif not auto:
            left.append(UnboundDevice(plugged.device, words.NOT_LISTED))
        elif len(seating.known) >= MOST_CAMERAS:
            left.append(UnboundDevice(plugged.device, f"{MOST_CAMERAS} cameras are known already"))
        elif rung is None:
            left.append(UnboundDevice(plugged.device, words.faceless(plugged).message))
        else:
            seating.bind(_lowest_number(seating), plugged, rung, "new, the lowest free number")
    return left


def _lowest_number(seating: PartialAssignment) -> CameraId:
    """Return the first number that nobody has; an entry without a source waits for one."""
    number = 0
    while True:
        camera_id = CameraId(f"camera{number}")
        waits = not str(seating.source(camera_id) or "")
        if waits and camera_id not in {*seating.known, *seating.reserved, *seating.given_up}:
            return camera_id
        number += 1


# --- the answer ---------------------------------------------------------------------------


def _answer(seating: PartialAssignment, unseated: list[UnboundDevice], *, auto: bool) -> Assignment:
    others = sorted((key for key in seating.known if key not in seating.entries), key=natural)
    if not auto:
        hidden = [seating.matches[key] for key in others if key in seating.matches]
        unseated += [UnboundDevice(match.plugged.device, words.NOT_LISTED) for match in hidden]
    listed = [*seating.entries, *(others if auto else ())]
    seats = tuple(_seat(seating, camera_id) for camera_id in listed)
    for seat in seats:
        if seat.trouble is not None and seat.trouble.cause in words.TOLD_TROUBLES:
            kind = words.TOLD_TROUBLES[seat.trouble.cause]
            seating.tell(kind, seat.camera_id, seat.trouble.message)
    offers = seating.offers.items()
    return Assignment(
        seats,
        tuple(sorted(unseated, key=lambda left: natural(str(left.device.node)))),
        tuple(sorted(seating.known.values(), key=lambda known: natural(known.camera_id))),
        tuple(
            AdoptionOffer(key, tuple(plugged.device for plugged in found)) for key, found in offers
        ),
        tuple(seating.news),
    )


def _seat(seating: PartialAssignment, camera_id: CameraId) -> MatchState:
    match, known = seating.matches.get(camera_id), seating.known.get(camera_id)
    seat = MatchState(camera_id, None)
    if known is not None:
        seat = attrs.evolve(seat, identity=known.identity.describe(), name=known.identity.name)
    if match is not None:
        device, rung = match.plugged.device, match.rung
        return attrs.evolve(seat, device=device, rung=rung, reason=match.reason)
    source = seating.source(camera_id) or V4l2Source()
    trouble = seating.troubles.get(camera_id) or words.unbound(camera_id, source)
    return attrs.evolve(seat, reason=trouble.message, trouble=trouble)
