"""What a camera does next: a table, total over everything the world can do in every state.

Pure. The actor tells it events and performs the actions it answers with; there is never more
than one child, because a new one is asked for only in states in which none exists.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import attrs

from camd.model import CameraState, Problem, ProblemKind

FIRST_REST_SECONDS = 0.5
SHORT_REST_SECONDS = 0.2  # behind what comes and goes: a server is asked often at first
SHORT_REST_GROWTH = 1.08
LONGEST_REST_SECONDS = 30.0
SETTLED_SECONDS = 10.0

COMES_AND_GOES = frozenset(
    (
        ProblemKind.CONNECTION_REFUSED,
        ProblemKind.CLOSED,
        ProblemKind.ENDED,
        ProblemKind.UNREACHABLE,
        ProblemKind.SERVER_UNAVAILABLE,
        ProblemKind.BEGUN_ANEW,
    )
)


# --- events: what the world did -----------------------------------------------------------


@attrs.frozen
class Wanted:
    """Somebody needs the capture: a session, or `always_on`."""


@attrs.frozen
class Unwanted:
    """Nobody needs it any more."""


@attrs.frozen
class FragmentArrived:
    """The child's first fragment is here."""


@attrs.frozen
class ProcessSettled:
    """The child has streamed for SETTLED_SECONDS: its next failure is a fresh one."""


@attrs.frozen
class ProcessStalled:
    """The child lives and delivers nothing."""

    problem: Problem


@attrs.frozen
class ProcessWaits:
    """The child runs and its source delivers, but no key frame yet."""

    problem: Problem


@attrs.frozen
class ProcessEnded:
    """The child is gone, its pipe drained. `problem` None: it ended as it should."""

    problem: Problem | None
    absent: bool = False  # the device is not there


@attrs.frozen
class RestOver:
    """The delay before the next try is over."""


@attrs.frozen
class DeviceLost:
    """The camera has no device any more: unplugged, or another one is in its place."""

    problem: Problem


@attrs.frozen
class DeviceAppeared:
    """The camera has a device, or another one than a moment ago."""


CaptureEvent = (
    Wanted
    | Unwanted
    | FragmentArrived
    | ProcessSettled
    | ProcessStalled
    | ProcessWaits
    | ProcessEnded
    | RestOver
    | DeviceLost
    | DeviceAppeared
)
EVENTS: tuple[type[CaptureEvent], ...] = (
    Wanted,
    Unwanted,
    FragmentArrived,
    ProcessSettled,
    ProcessStalled,
    ProcessWaits,
    ProcessEnded,
    RestOver,
    DeviceLost,
    DeviceAppeared,
)


# --- actions: what the actor is to do -----------------------------------------------------


class CaptureAction(enum.Enum):
    """One thing to do, in the order given."""

    SPAWN = "spawn"  # start a child; there is none
    TERMINATE = "terminate"  # ask the child to end, and go on reading until it has
    REST = "rest"  # arm the rest timer with `rest_seconds`
    WAKE = "wake"  # disarm the rest timer


# --- the machine --------------------------------------------------------------------------


@attrs.frozen
class CaptureState:
    """Where a camera stands. `failures` in a row decide how long it rests."""

    state: CameraState = CameraState.IDLE
    wanted: bool = False
    present: bool = True  # False: there is no device, and its coming will be told
    failures: int = 0
    problem: Problem | None = None
    streamed: bool = False  # whether the last child delivered before it ended
    # The last trouble, until the camera works or is another one.
    past: Problem | None = attrs.field(default=None, eq=False)

    @property
    def rest_seconds(self) -> float:
        """The pause before the next try: none at first, then growing; jitter is the shell's."""
        if self.problem is not None and self.problem.kind in COMES_AND_GOES:
            if self.streamed and self.failures <= 1:
                return 0.0
            if self.streamed and self.problem.kind == ProblemKind.BEGUN_ANEW:
                return SHORT_REST_SECONDS
            tries = min(max(0, self.failures - 1), 100)
            return min(LONGEST_REST_SECONDS, SHORT_REST_SECONDS * SHORT_REST_GROWTH**tries)
        exponent = min(max(0, self.failures - 1), 16)
        return min(LONGEST_REST_SECONDS, FIRST_REST_SECONDS * 2.0**exponent)

    @property
    def has_process(self) -> bool:
        """Whether a child exists, or is about to."""
        return self.state in (CameraState.STARTING, CameraState.STREAMING, CameraState.STOPPING)


Step = tuple[CaptureState, tuple[CaptureAction, ...]]
Rule = Callable[[CaptureState, CaptureEvent], Step]


def step(machine: CaptureState, event: CaptureEvent) -> Step:
    """Answer `event`: the machine afterwards, and what to do."""
    after, actions = TABLE[machine.state, type(event)](machine, event)
    past = after.problem or after.past
    if isinstance(event, DeviceAppeared | FragmentArrived):
        past = after.problem
    return (after if past is after.past else attrs.evolve(after, past=past)), actions


def _stay(machine: CaptureState, event: CaptureEvent) -> Step:
    return machine, ()


def _want(machine: CaptureState, event: CaptureEvent) -> Step:
    return attrs.evolve(machine, wanted=True), ()


def _unwant(machine: CaptureState, event: CaptureEvent) -> Step:
    return attrs.evolve(machine, wanted=False), ()


def _spawn(machine: CaptureState, event: CaptureEvent) -> Step:
    return attrs.evolve(machine, state=CameraState.STARTING, wanted=True), (CaptureAction.SPAWN,)


def _wake_and_spawn(machine: CaptureState, event: CaptureEvent) -> Step:
    after, actions = _spawn(machine, event)
    return after, (CaptureAction.WAKE, *actions)


def _want_absent(machine: CaptureState, event: CaptureEvent) -> Step:
    """Wait for the device when its coming will be told; else look whether it is there."""
    return (_wake_and_spawn if machine.present else _want)(machine, event)


def _look_again(machine: CaptureState, event: CaptureEvent) -> Step:
    return _spawn(machine, event) if machine.present else (machine, ())


def _give_up_absent(machine: CaptureState, event: CaptureEvent) -> Step:
    return (_give_up if machine.present else _unwant)(machine, event)


def _give_up(machine: CaptureState, event: CaptureEvent) -> Step:
    after = attrs.evolve(machine, state=CameraState.IDLE, wanted=False, failures=0, problem=None)
    return after, (CaptureAction.WAKE,)


def _stream(machine: CaptureState, event: CaptureEvent) -> Step:
    return attrs.evolve(machine, state=CameraState.STREAMING, problem=None), ()


def _settle(machine: CaptureState, event: CaptureEvent) -> Step:
    return attrs.evolve(machine, failures=0), ()


def _terminate(machine: CaptureState, event: CaptureEvent) -> Step:
    after = attrs.evolve(machine, state=CameraState.STOPPING, wanted=False, problem=None)
    return after, (CaptureAction.TERMINATE,)


def _terminate_stalled(machine: CaptureState, event: CaptureEvent) -> Step:
    assert isinstance(event, ProcessStalled)
    after = attrs.evolve(
        machine,
        state=CameraState.STOPPING,
        failures=machine.failures + 1,
        problem=event.problem,
        streamed=machine.state is CameraState.STREAMING,
    )
    return after, (CaptureAction.TERMINATE,)


def _show_problem(machine: CaptureState, event: CaptureEvent) -> Step:
    """Show why a child waits, or that it was told to end and does not; nothing else can be done."""
    assert isinstance(event, ProcessStalled | ProcessWaits)
    return attrs.evolve(machine, problem=event.problem), ()


def _process_ended(machine: CaptureState, event: CaptureEvent) -> Step:
    """The child ended by itself."""
    assert isinstance(event, ProcessEnded)
    if event.problem is None:  # a source that was played to its end
        done = attrs.evolve(machine, state=CameraState.IDLE, wanted=False, failures=0, problem=None)
        return done, ()
    failed = attrs.evolve(
        machine,
        failures=machine.failures + 1,
        problem=event.problem,
        streamed=machine.state is CameraState.STREAMING,
    )
    return _rest(failed, absent=event.absent)


def _stopped_process_ended(machine: CaptureState, event: CaptureEvent) -> Step:
    """The child ended because it was told to."""
    if not machine.present:
        return _rest(machine, absent=True)
    if not machine.wanted:
        return attrs.evolve(machine, state=CameraState.IDLE, failures=0, problem=None), ()
    if machine.problem is None:  # wanted again while it was stopping
        return _spawn(machine, event)
    return _rest(machine, absent=isinstance(event, ProcessEnded) and event.absent)


def _rest(machine: CaptureState, *, absent: bool) -> Step:
    if not machine.present:
        return attrs.evolve(machine, state=CameraState.ABSENT, failures=0), ()
    if not machine.wanted:
        return attrs.evolve(machine, state=CameraState.IDLE, failures=0), ()
    state = CameraState.ABSENT if absent else CameraState.RESTING
    return attrs.evolve(machine, state=state), (CaptureAction.REST,)


def _lose(machine: CaptureState, event: CaptureEvent) -> Step:
    """No child exists: wait for the device, however long that takes."""
    assert isinstance(event, DeviceLost)
    after = attrs.evolve(
        machine, state=CameraState.ABSENT, present=False, failures=0, problem=event.problem
    )
    return after, (CaptureAction.WAKE,)


def _lose_process(machine: CaptureState, event: CaptureEvent) -> Step:
    """The child's device is gone: end it, though most end by themselves."""
    assert isinstance(event, DeviceLost)
    after = attrs.evolve(machine, state=CameraState.STOPPING, present=False, problem=event.problem)
    return after, (CaptureAction.TERMINATE,)


def _lose_stopping(machine: CaptureState, event: CaptureEvent) -> Step:
    assert isinstance(event, DeviceLost)
    return attrs.evolve(machine, present=False, problem=machine.problem or event.problem), ()


def _come(machine: CaptureState, event: CaptureEvent) -> Step:
    return attrs.evolve(machine, present=True), ()


def _come_back(machine: CaptureState, event: CaptureEvent) -> Step:
    """A device is there and no child: no reason to wait any longer."""
    here = attrs.evolve(machine, present=True, failures=0, problem=None)
    if not machine.wanted:
        return attrs.evolve(here, state=CameraState.IDLE), (CaptureAction.WAKE,)
    return _wake_and_spawn(here, event)


_S = CameraState
TABLE: dict[tuple[CameraState, type[CaptureEvent]], Rule] = {
    (_S.IDLE, Wanted): _spawn,
    (_S.STARTING, Wanted): _want,
    (_S.STARTING, Unwanted): _terminate,
    (_S.STARTING, FragmentArrived): _stream,
    (_S.STARTING, ProcessStalled): _terminate_stalled,
    (_S.STARTING, ProcessWaits): _show_problem,
    (_S.STARTING, ProcessEnded): _process_ended,
    (_S.STREAMING, Wanted): _want,
    (_S.STREAMING, Unwanted): _terminate,
    (_S.STREAMING, ProcessSettled): _settle,
    (_S.STREAMING, ProcessStalled): _terminate_stalled,
    (_S.STREAMING, ProcessEnded): _process_ended,
    (_S.STOPPING, Wanted): _want,
    (_S.STOPPING, Unwanted): _unwant,
    (_S.STOPPING, ProcessStalled): _show_problem,
    (_S.STOPPING, ProcessEnded): _stopped_process_ended,
    (_S.RESTING, Wanted): _wake_and_spawn,
    (_S.RESTING, Unwanted): _give_up,
    (_S.RESTING, RestOver): _spawn,
    (_S.ABSENT, Wanted): _want_absent,
    (_S.ABSENT, Unwanted): _give_up_absent,
    (_S.ABSENT, RestOver): _look_again,
    (_S.IDLE, DeviceLost): _lose,
    (_S.STARTING, DeviceLost): _lose_process,
    (_S.STREAMING, DeviceLost): _lose_process,
    (_S.STOPPING, DeviceLost): _lose_stopping,
    (_S.RESTING, DeviceLost): _lose,
    (_S.ABSENT, DeviceLost): _lose,
    (_S.IDLE, DeviceAppeared): _come,
    (_S.STARTING, DeviceAppeared): _come,
    (_S.STREAMING, DeviceAppeared): _come,
    (_S.STOPPING, DeviceAppeared): _come,
    (_S.RESTING, DeviceAppeared): _come_back,
    (_S.ABSENT, DeviceAppeared): _come_back,
}
STATES = (_S.IDLE, _S.STARTING, _S.STREAMING, _S.STOPPING, _S.RESTING, _S.ABSENT)
for _state in STATES:
    for _event in EVENTS:
        TABLE.setdefault((_state, _event), _stay)
