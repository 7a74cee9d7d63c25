"""The state table: every entry, and its invariants against a model of process and device."""

from __future__ import annotations

from collections import deque

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from camd.capture.rules import state as m
from camd.capture.rules.state import CaptureAction, CaptureState, step
from camd.model import CameraState, Problem

BROKEN = Problem("broken", "It broke", "Mend it.")
STALLED = Problem("stalled", "It hangs", "Shake it.")
GONE = Problem("lost", "It was unplugged", "Plug it in.")

EVENTS: dict[str, m.CaptureEvent] = {
    "wanted": m.DemandBegan(),
    "unwanted": m.DemandEnded(),
    "fragment": m.FirstFragmentArrived(),
    "steady": m.StreamingSteadily(),
    "stalled": m.ProcessStalled(STALLED),
    "waits": m.AwaitingKeyFrame(STALLED),
    "finished": m.ProcessEnded(None),
    "failed": m.ProcessEnded(BROKEN),
    "vanished": m.ProcessEnded(BROKEN, absent=True),
    "retry due": m.RetryDue(),
    "device lost": m.DeviceLost(GONE),
    "device came": m.DeviceAppeared(),
}
# The next state and the actions, by state and event; "." means no change.
WANTED_TABLE = {
    "IDLE": {"wanted": "STARTING spawn", "device lost": "ABSENT cancel retry"},
    "STARTING": {
        "unwanted": "STOPPING terminate",
        "fragment": "STREAMING",
        "stalled": "STOPPING terminate",
        "finished": "IDLE",
        "failed": "RESTING retry later",
        "vanished": "ABSENT retry later",
        "device lost": "STOPPING terminate",
    },
    "STREAMING": {
        "unwanted": "STOPPING terminate",
        "stalled": "STOPPING terminate",
        "finished": "IDLE",
        "failed": "RESTING retry later",
        "vanished": "ABSENT retry later",
        "device lost": "STOPPING terminate",
    },
    "STOPPING": {
        "finished": "STARTING spawn",
        "failed": "STARTING spawn",
        "vanished": "STARTING spawn",
    },
    "RESTING": {
        "wanted": "STARTING cancel retry spawn",
        "unwanted": "IDLE cancel retry",
        "retry due": "STARTING spawn",
        "device lost": "ABSENT cancel retry",
        "device came": "STARTING cancel retry spawn",
    },
    "ABSENT": {
        "wanted": "STARTING cancel retry spawn",
        "unwanted": "IDLE cancel retry",
        "retry due": "STARTING spawn",
        "device lost": "ABSENT cancel retry",
        "device came": "STARTING cancel retry spawn",
    },
}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", WANTED_TABLE)
def test_each_event_in_each_state(state: str, event: str) -> None:
    """A capture goes from state to state as the table above says."""
    before = CaptureState(CameraState(state), wanted=state != "IDLE")
    after, actions = step(before, EVENTS[event])
    told = " ".join([after.state.value, *(action.value for action in actions)])
    assert told == WANTED_TABLE[state].get(event, state)


def test_the_table_is_total() -> None:
    """Every event in every state has an entry."""
    assert set(m.TABLE) == {(state, event) for state in m.STATES for event in m.EVENTS}
    assert set(m.STATES) == set(CameraState) - {CameraState.FAULTED}


@pytest.mark.parametrize("event", ["finished", "failed", "vanished"])
def test_a_process_that_was_told_to_end_leaves_an_unwanted_camera_idle(event: str) -> None:
    """No failures, no problem and no timer are left."""
    before = CaptureState(CameraState.STOPPING, failures=3, problem=STALLED)
    assert step(before, EVENTS[event]) == (CaptureState(), ())


def test_a_stalled_process_is_replaced_after_a_delay() -> None:
    """Its end counts as a failure: a delay comes before the next start."""
    machine = CaptureState(CameraState.STREAMING, wanted=True)
    machine, actions = step(machine, EVENTS["stalled"])
    assert (actions, machine.problem) == ((CaptureAction.TERMINATE,), STALLED)
    machine, actions = step(machine, EVENTS["finished"])
    assert (machine.state, machine.failures, actions) == (
        CameraState.RESTING,
        1,
        (CaptureAction.RETRY_LATER,),
    )
    assert machine.problem == STALLED


def test_a_process_that_cannot_be_ended_is_shown() -> None:
    """The status has the problem of a process that cannot be ended."""
    machine, _ = step(CaptureState(CameraState.STREAMING, wanted=True), EVENTS["unwanted"])
    machine, actions = step(machine, m.ProcessStalled(STALLED))
    assert (machine.state, machine.problem, actions) == (CameraState.STOPPING, STALLED, ())


def test_a_fragment_clears_the_problem_but_not_the_failures() -> None:
    """A camera that delivers one fragment and fails again must not be restarted at full speed."""
    before = CaptureState(CameraState.STARTING, wanted=True, failures=4, problem=BROKEN)
    after, _ = step(before, EVENTS["fragment"])
    assert after == CaptureState(CameraState.STREAMING, wanted=True, failures=4)
    assert step(after, EVENTS["steady"])[0].failures == 0


def test_rests_double_up_to_a_bound() -> None:
    """Failures in a row delay 0.5, 1, 2, … and at most 30 seconds, for ever."""
    machine, delays = CaptureState(CameraState.STARTING, wanted=True), []
    for _ in range(9):
        machine, actions = step(machine, EVENTS["failed"])
        assert actions == (CaptureAction.RETRY_LATER,)
        delays.append(machine.retry_seconds)
        machine, _ = step(machine, EVENTS["retry due"])
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert attrs.evolve(machine, failures=10**9).retry_seconds == 30


REFUSED = Problem("connection_refused", "Nobody answers", "Start it.")


def test_a_stream_that_broke_off_is_tried_at_once_and_then_ever_less_often() -> None:
    """After an absence of three seconds a server is found within half a second; 30 s is most."""
    machine, delays = CaptureState(CameraState.STREAMING, wanted=True), []
    for _ in range(70):
        machine, _ = step(machine, m.ProcessEnded(REFUSED))
        delays.append(machine.retry_seconds)
        machine, _ = step(machine, EVENTS["retry due"])
    assert delays[0] == 0.0
    assert delays[1:] == sorted(delays[1:])
    assert delays[-1] == 30.0
    away, tries = 0.0, 0
    while away < 3.0:
        tries += 1
        away += delays[tries]
    assert delays[tries] <= 0.5


def test_a_stream_that_never_began_is_not_asked_twice_at_once() -> None:
    """A camera may limit the number of connections."""
    machine, _ = step(CaptureState(CameraState.STARTING, wanted=True), m.ProcessEnded(REFUSED))
    assert machine.retry_seconds == 0.2


def test_a_process_that_waits_for_a_key_frame_goes_on() -> None:
    """The process is neither ended nor counted as a failure."""
    machine, actions = step(CaptureState(CameraState.STARTING, wanted=True), EVENTS["waits"])
    assert (machine.state, machine.problem, actions) == (CameraState.STARTING, STALLED, ())
    machine, _ = step(machine, EVENTS["fragment"])
    assert (machine.problem, machine.failures) == (None, 0)


def test_the_last_problem_is_kept_until_the_camera_works_or_is_another_one() -> None:
    """A camera without demand still shows why it did not stream."""
    machine = CaptureState(CameraState.STARTING, wanted=True)
    for event in ("failed", "unwanted", "wanted"):
        machine, _ = step(machine, EVENTS[event])
        assert machine.past == BROKEN
    assert step(machine, EVENTS["fragment"])[0].past is None
    idle, _ = step(CaptureState(past=BROKEN), EVENTS["device came"])
    assert idle.past is None


LOST = CaptureState(CameraState.ABSENT, wanted=True, present=False, problem=GONE)


def test_a_camera_without_a_device_waits_for_one_and_does_not_try() -> None:
    """Neither demand nor an old timer starts a process while the device is gone."""
    for event in (m.DemandBegan(), m.RetryDue()):
        assert step(LOST, event) == (LOST, ())
    unwanted, actions = step(LOST, m.DemandEnded())
    assert (unwanted.state, unwanted.wanted, actions) == (CameraState.ABSENT, False, ())


def test_a_device_that_comes_starts_what_is_wanted_at_once_and_afresh() -> None:
    """Earlier failures do not count; without demand the camera is idle."""
    after, actions = step(LOST, m.DeviceAppeared())
    assert (after, actions) == (
        CaptureState(CameraState.STARTING, wanted=True),
        (CaptureAction.CANCEL_RETRY, CaptureAction.SPAWN),
    )
    idle, _ = step(attrs.evolve(LOST, wanted=False), m.DeviceAppeared())
    assert idle == CaptureState()


def test_a_process_whose_device_was_lost_leaves_its_camera_absent() -> None:
    """However the process ends, the camera waits for the device, and shows its problem."""
    for wanted in (True, False):
        machine = CaptureState(CameraState.STREAMING, wanted=True)
        machine, actions = step(machine, m.DeviceLost(GONE))
        assert (machine.state, actions) == (CameraState.STOPPING, (CaptureAction.TERMINATE,))
        machine, _ = step(machine, m.DemandBegan() if wanted else m.DemandEnded())
        machine, actions = step(machine, m.ProcessEnded(BROKEN))
        assert (machine, actions) == (attrs.evolve(LOST, wanted=wanted), ())


def test_another_device_gets_a_process_of_its_own() -> None:
    """The process of the old device ends first; the next one follows after a short delay."""
    machine = CaptureState(CameraState.STREAMING, wanted=True)
    for event in (m.DeviceLost(GONE), m.DeviceAppeared()):
        machine, _ = step(machine, event)
    machine, actions = step(machine, m.ProcessEnded(BROKEN))
    assert (machine.state, actions) == (CameraState.RESTING, (CaptureAction.RETRY_LATER,))
    assert machine.retry_seconds == 0.5


def test_a_steady_process_that_fails_is_soon_tried_again() -> None:
    """Failures before it was steady do not count."""
    machine = CaptureState(CameraState.STREAMING, wanted=True, failures=9)
    machine, _ = step(machine, EVENTS["steady"])
    machine, _ = step(machine, EVENTS["failed"])
    assert machine.retry_seconds == 0.5


class World(RuleBasedStateMachine):
    """A model of process and device: only possible events happen, in the order of a mailbox."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = CaptureState()
        self.mailbox: deque[m.CaptureEvent] = deque()
        self.child = ""  # "runs", "told to end", or ""
        self.delivers = False
        self.resting = False
        self.somebody_wants = False
        self.plugged = True

    def tell(self, event: m.CaptureEvent) -> None:
        self.machine, actions = step(self.machine, event)
        for action in actions:
            match action:
                case CaptureAction.SPAWN:
                    assert not self.child, "two children"
                    assert not self.end_is_under_way, "the last one's end is not known yet"
                    assert self.machine.present, "a child on no device"
                    self.child, self.delivers = "runs", False
                case CaptureAction.TERMINATE:
                    assert self.child or self.end_is_under_way, "nothing to terminate"
                    self.child = self.child and "told to end"
                case CaptureAction.RETRY_LATER:
                    assert not self.resting, "two timers"
                    self.resting = True
                case CaptureAction.CANCEL_RETRY:
                    self.resting = False

    @property
    def end_is_under_way(self) -> bool:
        return any(isinstance(event, m.ProcessEnded) for event in self.mailbox)

    @property
    def waits_for_its_device(self) -> bool:
        """There is no device, or its event is still in the mailbox."""
        return not self.machine.present and (not self.plugged or m.DeviceAppeared() in self.mailbox)

    @property
    def rest_is_under_way(self) -> bool:
        return self.resting or m.RetryDue() in self.mailbox

    @rule()
    def want(self) -> None:
        self.somebody_wants = True
        self.tell(m.DemandBegan())

    @rule()
    def unwant(self) -> None:
        self.somebody_wants = False
        self.tell(m.DemandEnded())

    @precondition(lambda self: self.child and not self.delivers)
    @rule()
    def deliver(self) -> None:
        self.delivers = True
        self.mailbox.append(m.FirstFragmentArrived())

    @precondition(lambda self: self.child == "runs" and self.delivers)
    @rule()
    def settle(self) -> None:
        self.mailbox.append(m.StreamingSteadily())

    @precondition(lambda self: self.child)
    @rule()
    def stall(self) -> None:
        self.mailbox.append(m.ProcessStalled(STALLED))

    @precondition(lambda self: self.child)
    @rule(end=st.sampled_from(["finished", "failed", "vanished"]))
    def end(self, end: str) -> None:
        self.child = ""
        self.mailbox.append(EVENTS[end])

    @precondition(lambda self: self.plugged)
    @rule()
    def unplug(self) -> None:
        self.plugged = False
        self.mailbox.append(m.DeviceLost(GONE))

    @precondition(lambda self: not self.plugged)
    @rule()
    def plug(self) -> None:
        self.plugged = True
        self.mailbox.append(m.DeviceAppeared())

    @precondition(lambda self: self.resting)
    @rule()
    def rest(self) -> None:
        self.resting = False
        self.mailbox.append(m.RetryDue())

    @precondition(lambda self: self.mailbox)
    @rule()
    def read(self) -> None:
        event = self.mailbox.popleft()
        played = event == m.ProcessEnded(None) and self.machine.state is not CameraState.STOPPING
        self.somebody_wants = self.somebody_wants and not played
        self.tell(event)

    @invariant()
    def wanted_cameras_live(self) -> None:
        assert self.machine.wanted == self.somebody_wants
        if self.somebody_wants:
            assert (
                self.child
                or self.end_is_under_way
                or self.rest_is_under_way
                or self.waits_for_its_device
            )

    @invariant()
    def unwanted_cameras_close_their_device(self) -> None:
        if not self.somebody_wants:
            assert self.child != "runs" or self.end_is_under_way
            assert not self.resting

    @invariant()
    def the_state_tells_the_truth(self) -> None:
        assert self.machine.has_process == bool(self.child or self.end_is_under_way)


TestWorld = pytest.mark.filterwarnings("default")(World.TestCase)
TestWorld.__doc__ = (
    "Whatever happens in whatever order: one child at most, and nothing is forgotten."
)
TestWorld.settings = settings(max_examples=100, stateful_step_count=30)
