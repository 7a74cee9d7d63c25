"""How old recordings are, whatever somebody does to the wall clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.runtime.state_file import from_json, to_json
from camd.storage.rules.clock_trust import (
    ClockReading,
    CredibleTime,
    RecordingEndMoment,
)

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@attrs.define
class Machine:
    """A machine whose true time is known, and whose clock says something."""

    true: datetime = NOON
    off: timedelta = timedelta(0)  # the wall clock is so far ahead
    up: float = 100.0
    boot: int = 0
    synchronised: bool = False
    trust: CredibleTime | None = None

    def look(self) -> CredibleTime:
        """Let retention look at the clocks."""
        reading = ClockReading(self.true + self.off, self.up, f"boot{self.boot}", self.synchronised)
        self.trust = CredibleTime.first(reading) if self.trust is None else self.trust.then(reading)
        return self.trust

    def run(self, span: timedelta) -> CredibleTime:
        """Let time pass."""
        self.true += span
        self.up += span.total_seconds()
        return self.look()

    def reboot(self, down: timedelta = HOUR, off: timedelta | None = None) -> CredibleTime:
        """Be off for a while; the clock may be another one afterwards."""
        self.true += down
        self.up, self.boot, self.synchronised = 30.0, self.boot + 1, False
        self.off = self.off if off is None else off
        return self.look()

    def record(self) -> tuple[datetime, RecordingEndMoment, datetime]:
        """Record something that ends now: its stamp, its arrival, and when it really ended."""
        return self.true + self.off, RecordingEndMoment(f"boot{self.boot}", self.up), self.true


def test_a_clock_that_nobody_sets_is_believed() -> None:
    """Synchronised or not, across restarts: ages are what they are."""
    machine = Machine()
    machine.look()
    stamp, arrival, _ = machine.record()
    for _ in range(3):
        machine.run(2 * DAY)
        trust = machine.reboot()
        assert trust.doubt == ""
    age = trust.age(stamp, arrival)
    assert abs(age - (machine.true - stamp)) < timedelta(seconds=1)
    assert trust.age(stamp, None) == machine.true - stamp


@pytest.mark.parametrize("synchronised", [False, True])
def test_a_step_ahead_makes_nothing_old(synchronised: bool) -> None:
    """What was recorded before the step, in this boot or an earlier one, is as old as before; the
    reason is said, until the clock is set back or has been synchronised for an hour."""
    machine = Machine(synchronised=synchronised)
    machine.look()
    older = machine.record()
    machine.run(DAY)
    machine.reboot()
    machine.synchronised = synchronised
    machine.run(HOUR)
    young = machine.record()
    machine.off += 400 * DAY
    trust = machine.run(HOUR / 2)
    assert "set while the machine was running" in trust.doubt
    assert "400 d 0 h ahead" in trust.doubt
    for stamp, arrival, true in (older, young):
        assert abs(trust.age(stamp, arrival) - (machine.true - true)) < timedelta(seconds=5)
        assert trust.age(stamp, None) < 3 * DAY
    machine.off -= 400 * DAY
    assert machine.run(HOUR / 2).doubt == ""


def test_a_clock_that_is_synchronised_for_an_hour_after_a_step_is_believed() -> None:
    """Then what is known by its date alone is as old as the clock says; what was recorded in this
    boot is never older than this boot."""
    machine = Machine(off=-400 * DAY)
    machine.look()
    stamp, arrival, _ = machine.record()
    machine.off, machine.synchronised = timedelta(0), True
    assert machine.run(HOUR / 2).doubt
    trust = machine.run(HOUR)
    assert trust.doubt == ""
    assert trust.now == machine.true
    assert trust.age(stamp, arrival) == timedelta(hours=1.5)
    assert trust.age(stamp, arrival, trust_wall_clock=True) == timedelta(hours=1.5)
    assert trust.age(stamp, None) > 400 * DAY


def test_a_machine_without_a_battery_dates_its_footage_later() -> None:
    """What was recorded with the clock in 1970 is dated when a later boot learns the time."""
    machine = Machine(off=-20_000 * DAY)
    machine.look()
    stamp, arrival, true = machine.record()
    machine.run(HOUR)
    machine.reboot(DAY)
    machine.off, machine.synchronised = timedelta(0), True
    machine.run(HOUR / 2)
    trust = machine.run(HOUR)
    assert trust.doubt == ""
    age = trust.age(stamp, arrival)
    assert age <= machine.true - true  # never older than it is
    assert age >= timedelta(hours=2.4)


def test_years_while_the_machine_is_off_are_a_day() -> None:
    """Without synchronisation a clock that comes back years ahead is not believed."""
    machine = Machine()
    machine.look()
    stamp, arrival, _ = machine.record()
    trust = machine.reboot(HOUR, off=3000 * DAY)
    assert "moved while the machine was off" in trust.doubt
    assert trust.age(stamp, arrival) <= DAY + HOUR
    assert (
        trust.age(stamp, arrival, trust_wall_clock=True) > 2999 * DAY
    )  # somebody says that it is right
    machine.synchronised = True
    assert machine.run(HOUR).doubt == ""  # it is, says the time service


def test_what_is_kept_is_read_again() -> None:
    """A restart of the service goes on with all of it; garbage is nothing."""
    machine = Machine()
    machine.look()
    machine.off += DAY
    trust = machine.run(HOUR)
    assert from_json(to_json(trust), CredibleTime) == trust
    for garbage in ("", "{}", "null", '{"credible": 7}'):
        with pytest.raises(ValueError, match="not understood"):
            from_json(garbage, CredibleTime)


spans = st.floats(0, 30).map(lambda days: days * DAY)
shifts = st.sampled_from([-20_000 * DAY, -DAY, -HOUR, timedelta(0), HOUR, 40 * DAY, 3000 * DAY])


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("run"), spans),
            st.tuples(st.just("step"), shifts),
            st.tuples(st.just("reboot"), shifts),
            st.tuples(st.just("record"), st.just(HOUR)),
        ),
        max_size=30,
    )
)
def test_nothing_is_older_than_it_is(plan: list[tuple[str, timedelta]]) -> None:
    """Whatever happens to a clock that is not synchronised, a recording of this boot has its true
    age, and one of an earlier boot is older by no more than a day for each restart."""
    machine = Machine()
    machine.look()
    recordings = []
    for what, span in plan:
        match what:
            case "run":
                machine.run(span)
            case "step":
                machine.off = span
                machine.run(timedelta(0))
            case "reboot":
                machine.reboot(off=span)
            case "record":
                recordings.append((machine.record(), machine.boot))
    trust = machine.look()
    for (stamp, arrival, true), boot in recordings:
        age, real = trust.age(stamp, arrival), machine.true - true
        if boot == machine.boot:
            assert abs(age - real) < timedelta(seconds=1)
        assert age <= real + (machine.boot - boot) * DAY + timedelta(seconds=1)
