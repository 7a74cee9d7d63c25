"""Pure: the state table of a capture; every event in every state has an entry.

The supervisor passes events in and carries out the actions that come back. There is never more
than one FFmpeg process, because SPAWN is returned only in states in which none exists.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import attrs

from camd.growing_delay import GrowingDelay
from camd.model import CameraState, Problem, ProblemKind

RETRY_DELAY = GrowingDelay(0.5, 30.0)
SHORT_RETRY_DELAY = GrowingDelay(0.2, 30.0, 1.08)  # after COMES_AND_GOES: often back soon
STEADY_SECONDS = 10.0

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


# --- events -------------------------------------------------------------------------------


@attrs.frozen
class DemandBegan:
    """There is demand: a consumer needs the capture."""


@attrs.frozen
class DemandEnded:
    """There is no demand any more."""


@attrs.frozen
class FirstFragmentArrived:
    """The first fragment of the capture arrived."""


@attrs.frozen
class StreamingSteadily:
    """The capture has streamed for STEADY_SECONDS; failures are counted from zero again."""


@attrs.frozen
class ProcessStalled:
    """The process runs and delivers nothing."""

    problem: Problem


@attrs.frozen
class AwaitingKeyFrame:
    """The process runs and its source delivers, but no key frame yet."""

    problem: Problem


@attrs.frozen
class ProcessEnded:
    """The process has ended and its pipe is read to the end. `problem` None: it was told to."""

    problem: Problem | None
    absent: bool = False  # the device is not there


@attrs.frozen
class RetryDue:
    """The pause before the next try is over."""


@attrs.frozen
class DeviceLost:
    """The camera has no device any more: unplugged, or another one is in its place."""

    problem: Problem


@attrs.frozen
class DeviceAppeared:
    """The camera has a device, or another one than a moment ago."""


CaptureEvent = (
    DemandBegan
    | DemandEnded
    | FirstFragmentArrived
    | StreamingSteadily
    | ProcessStalled
    | AwaitingKeyFrame
    | ProcessEnded
    | RetryDue
    | DeviceLost
    | DeviceAppeared
)
EVENTS: tuple[type[CaptureEvent], ...] = (
    DemandBegan,
    DemandEnded,
    FirstFragmentArrived,
    StreamingSteadily,
    ProcessStalled,
    AwaitingKeyFrame,
    ProcessEnded,
    RetryDue,
    DeviceLost,
    DeviceAppeared,
)


# --- actions: what the supervisor is to do ------------------------------------------------


class CaptureAction(enum.Enum):
    """One thing to do, in the order given."""

    SPAWN = "spawn"  # start a process; there is none
    TERMINATE = "terminate"  # ask the process to end, and read its output until it has
    RETRY_LATER = "retry later"  # start the timer of `retry_seconds`
    CANCEL_RETRY = "cancel retry"  # cancel that timer


# --- the table ----------------------------------------------------------------------------


@attrs.frozen
class CaptureState:
    """The state of a capture. The number of `failures` in a row sets the delay of the next try."""

    state: CameraState = CameraState.IDLE
    wanted: bool = False
    present: bool = True  # False: there is no device; DeviceAppeared follows
    failures: int = 0
    problem: Problem | None = None
    streamed: bool = False  # whether the last process delivered before it ended
    # The last problem, until the camera streams or another device is bound.
    past: Problem | None = attrs.field(default=None, eq=False)

    @property
    def retry_seconds(self) -> float:
        """The pause before the next try, growing with each failure; without jitter."""
        if self.problem is not None and self.problem.kind in COMES_AND_GOES:
            if self.streamed and self.failures <= 1:
                return 0.0
            if self.streamed and self.problem.kind == ProblemKind.BEGUN_ANEW:
                return SHORT_RETRY_DELAY.first_seconds
            return SHORT_RETRY_DELAY.after(max(1, self.failures))
        return RETRY_DELAY.after(max(1, self.failures))

    @property
    def has_process(self) -> bool:
        """Whether a process exists or starts."""
        return self.state in (CameraState.STARTING, CameraState.STREAMING, CameraState.STOPPING)


Step = tuple[CaptureState, tuple[CaptureAction, ...]]
Rule = Callable[[CaptureState, CaptureEvent], Step]


def step(capture: CaptureState, event: CaptureEvent) -> Step:
    """Return the state after `event`, and the actions to carry out."""
    after, actions = TABLE[capture.state, type(event)](capture, event)
    past = after.problem or after.past
    if isinstance(event, DeviceAppeared | FirstFragmentArrived):
        past = after.problem
    return (after if past is after.past else attrs.evolve(after, past=past)), actions


def _stay(capture: CaptureState, event: CaptureEvent) -> Step:
    return capture, ()


def _want(capture: CaptureState, event: CaptureEvent) -> Step:
    return attrs.evolve(capture, wanted=True), ()


def _unwant(capture: CaptureState, event: CaptureEvent) -> Step:
    return attrs.evolve(capture, wanted=False), ()


def _spawn(capture: CaptureState, event: CaptureEvent) -> Step:
    return attrs.evolve(capture, state=CameraState.STARTING, wanted=True), (CaptureAction.SPAWN,)


def _wake_and_spawn(capture: CaptureState, event: CaptureEvent) -> Step:
    after, actions = _spawn(capture, event)
    return after, (CaptureAction.CANCEL_RETRY, *actions)


def _want_absent(capture: CaptureState, event: CaptureEvent) -> Step:
    """Wait for DeviceAppeared where it follows; else start; that fails without a device."""
    return (_wake_and_spawn if capture.present else _want)(capture, event)


def _look_again(capture: CaptureState, event: CaptureEvent) -> Step:
    return _spawn(capture, event) if capture.present else (capture, ())


def _give_up_absent(capture: CaptureState, event: CaptureEvent) -> Step:
    return (_give_up if capture.present else _unwant)(capture, event)


def _give_up(capture: CaptureState, event: CaptureEvent) -> Step:
    after = attrs.evolve(capture, state=CameraState.IDLE, wanted=False, failures=0, problem=None)
    return after, (CaptureAction.CANCEL_RETRY,)


def _stream(capture: CaptureState, event: CaptureEvent) -> Step:
    return attrs.evolve(capture, state=CameraState.STREAMING, problem=None), ()


def _count_from_zero(capture: CaptureState, event: CaptureEvent) -> Step:
    return attrs.evolve(capture, failures=0), ()


def _terminate(capture: CaptureState, event: CaptureEvent) -> Step:
    after = attrs.evolve(capture, state=CameraState.STOPPING, wanted=False, problem=None)
    return after, (CaptureAction.TERMINATE,)


def _terminate_stalled(capture: CaptureState, event: CaptureEvent) -> Step:
    assert isinstance(event, ProcessStalled)
    after = attrs.evolve(
        capture,
        state=CameraState.STOPPING,
        failures=capture.failures + 1,
        problem=event.problem,
        streamed=capture.state is CameraState.STREAMING,
    )
    return after, (CaptureAction.TERMINATE,)


def _show_problem(capture: CaptureState, event: CaptureEvent) -> Step:
    """Show why the process waits, or that it does not end although it was told to."""
    assert isinstance(event, ProcessStalled | AwaitingKeyFrame)
    return attrs.evolve(capture, problem=event.problem), ()


def _process_ended(capture: CaptureState, event: CaptureEvent) -> Step:
    """The process ended by itself."""
    assert isinstance(event, ProcessEnded)
    if event.problem is None:  # a source that was read to its end
        done = attrs.evolve(capture, state=CameraState.IDLE, wanted=False, failures=0, problem=None)
        return done, ()
    failed = attrs.evolve(
        capture,
        failures=capture.failures + 1,
        problem=event.problem,
        streamed=capture.state is CameraState.STREAMING,
    )
    return _retry_later(failed, absent=event.absent)


def _stopped_process_ended(capture: CaptureState, event: CaptureEvent) -> Step:
    """The process ended because it was told to."""
    if not capture.present:
        return _retry_later(capture, absent=True)
    if not capture.wanted:
        return attrs.evolve(capture, state=CameraState.IDLE, failures=0, problem=None), ()
    if capture.problem is None:  # demand returned while it was stopping
        return _spawn(capture, event)
    return _retry_later(capture, absent=isinstance(event, ProcessEnded) and event.absent)


def _retry_later(capture: CaptureState, *, absent: bool) -> Step:
    if not capture.present:
        return attrs.evolve(capture, state=CameraState.ABSENT, failures=0), ()
    if not capture.wanted:
        return attrs.evolve(capture, state=CameraState.IDLE, failures=0), ()
    state = CameraState.ABSENT if absent else CameraState.RESTING
    return attrs.evolve(capture, state=state), (CaptureAction.RETRY_LATER,)


def _lose(capture: CaptureState, event: CaptureEvent) -> Step:
    """No process exists: wait for the device, without a bound."""
    assert isinstance(event, DeviceLost)
    after = attrs.evolve(
        capture, state=CameraState.ABSENT, present=False, failures=0, problem=event.problem
    )
    return after, (CaptureAction.CANCEL_RETRY,)


def _lose_process(capture: CaptureState, event: CaptureEvent) -> Step:
    """The device of the process is gone: end the process, if it does not end by itself."""
    assert isinstance(event, DeviceLost)
    after = attrs.evolve(capture, state=CameraState.STOPPING, present=False, problem=event.problem)
    return after, (CaptureAction.TERMINATE,)


def _lose_stopping(capture: CaptureState, event: CaptureEvent) -> Step:
    assert isinstance(event, DeviceLost)
    return attrs.evolve(capture, present=False, problem=capture.problem or event.problem), ()


def _come(capture: CaptureState, event: CaptureEvent) -> Step:
    return attrs.evolve(capture, present=True), ()


def _come_back(capture: CaptureState, event: CaptureEvent) -> Step:
    """A device is there, and no process: start when there is demand."""
    here = attrs.evolve(capture, present=True, failures=0, problem=None)
    if not capture.wanted:
        return attrs.evolve(here, state=CameraState.IDLE), (CaptureAction.CANCEL_RETRY,)
    return _wake_and_spawn(here, event)


_S = CameraState
TABLE: dict[tuple[CameraState, type[CaptureEvent]], Rule] = {
    (_S.IDLE, DemandBegan): _spawn,
    (_S.STARTING, DemandBegan): _want,
    (_S.STARTING, DemandEnded): _terminate,
    (_S.STARTING, FirstFragmentArrived): _stream,
    (_S.STARTING, ProcessStalled): _terminate_stalled,
    (_S.STARTING, AwaitingKeyFrame): _show_problem,
    (_S.STARTING, ProcessEnded): _process_ended,
    (_S.STREAMING, DemandBegan): _want,
    (_S.STREAMING, DemandEnded): _terminate,
    (_S.STREAMING, StreamingSteadily): _count_from_zero,
    (_S.STREAMING, ProcessStalled): _terminate_stalled,
    (_S.STREAMING, ProcessEnded): _process_ended,
    (_S.STOPPING, DemandBegan): _want,
    (_S.STOPPING, DemandEnded): _unwant,
    (_S.STOPPING, ProcessStalled): _show_problem,
    (_S.STOPPING, ProcessEnded): _stopped_process_ended,
    (_S.RESTING, DemandBegan): _wake_and_spawn,
    (_S.RESTING, DemandEnded): _give_up,
    (_S.RESTING, RetryDue): _spawn,
    (_S.ABSENT, DemandBegan): _want_absent,
    (_S.ABSENT, DemandEnded): _give_up_absent,
    (_S.ABSENT, RetryDue): _look_again,
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
