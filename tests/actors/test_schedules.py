"""Schedules start and stop sessions: to the second, beside people, and on clocks that are set."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import attrs
import pytest
import trio
from structlog.testing import capture_logs
from support.camera_rig import (
    CAMERA,
    CamerasRig,
    Wall,
    open_cameras_rig,
)
from support.fake_ffmpeg import plays_once, refuses
from support.media_streams import FPS
from test_schedules_windows import schedule
from trio.testing import MockClock

from camd.camera.camera import Camera
from camd.config.schema import CameraConfig, Config, ScheduleConfig
from camd.errors import Refusal
from camd.model import CameraChanged, CameraId, RecordingChanged, RecordingRequest, Session
from camd.model.schedule_values import OverriddenBy
from camd.runtime.actor import supervise
from camd.schedules.camera_schedule import CameraSchedule
from camd.schedules.rules.decision import Override
from camd.schedules.schedule_time import ScheduleTime
from camd.schedules.schedules import Schedules, open_schedules
from camd.schedules.stop_memory import MOST_STOPS, StopMemory, StoredStops, parse_stops
from camd.sources import SyntheticSource

OPENS = datetime(2026, 1, 15, 20, 0, tzinfo=UTC)
CLOSES = OPENS + timedelta(minutes=1)
MINUTE = schedule("20:00", "20:01", "UTC")
ANN = RecordingRequest("ann")
TIMED = RecordingRequest("ann", duration=timedelta(seconds=10))
SOURCE = SyntheticSource(320, 180, FPS)


@attrs.define(eq=False)
class KeptStops:
    """The file of stops, in memory."""

    stored: StoredStops | None = None
    full: bool = False

    async def load(self) -> StoredStops | None:
        """Return what is stored."""
        await trio.lowlevel.checkpoint()
        return self.stored

    async def save(self, stops: StoredStops) -> None:
        """Store it, or fail when the disk is full."""
        await trio.lowlevel.checkpoint()
        if self.full:
            raise OSError("full")
        self.stored = stops

    @property
    def memory(self) -> StopMemory:
        """What a daemon has of it."""
        return StopMemory(self.load, self.save)


@attrs.define(eq=False)
class ScheduleRig:
    """Cameras, their schedules, and a wall clock that begins shortly before a window."""

    cameras: CamerasRig
    schedules: Schedules
    wall: Wall
    kept: KeptStops
    ready: trio.Event

    @property
    def camera(self) -> Camera:
        """The first camera."""
        return self.cameras.cameras.find(CAMERA)

    async def until(self, moment: datetime) -> None:
        """Wait until the wall clock, as it goes now, shows this."""
        await trio.sleep((moment - self.wall.now()).total_seconds())

    async def session(self) -> Session:
        """Wait for a session with frames on disk."""
        status = await self.camera.published.wait_until(
            lambda status: status.session is not None and bool(status.session.segments)
        )
        assert status.session is not None
        return status.session

    async def idle(self) -> None:
        """Wait until no session runs."""
        await self.camera.published.wait_until(lambda status: status.session is None)

    @property
    def told(self) -> list[str]:
        """Which sessions began and ended when: seconds since the window opened, owner, reason."""
        words = []
        for event in self.cameras.heard:
            if isinstance(event, RecordingChanged) and event.kind.name in ("STARTED", "STOPPED"):
                session = event.session
                start = round((session.start - OPENS).total_seconds())
                words.append(f"{event.kind.name} {start} {session.owner} {event.reason}".strip())
        return words

    @property
    def overridden(self) -> OverriddenBy | None:
        """What the camera's status says."""
        shown = self.camera.status.schedule
        assert shown is not None
        return shown.overridden_by


@asynccontextmanager
async def open_rig(
    *schedules: ScheduleConfig,
    before: float = 10,
    source: SyntheticSource = SOURCE,
    kept: KeptStops | None = None,
    resumed: bool = True,
) -> AsyncIterator[ScheduleRig]:
    """Run one camera and its schedules; the wall clock is `before` seconds before the window."""
    wall, kept = Wall(), kept or KeptStops()
    wall.step(seconds=(OPENS - wall.now()).total_seconds() - before)
    config = Config(schedules=schedules or (MINUTE,))
    entry = CameraConfig(CAMERA, source)
    async with open_cameras_rig(entries=(entry,), auto=False, wall=wall) as cameras:
        ready = trio.Event()
        if resumed:
            ready.set()
        async with open_schedules(
            config,
            cameras=cameras.cameras,
            events=cameras.cameras._events,
            resumed=ready,
            clock=wall.clock,
            stops=kept.memory,
        ) as running:
            yield ScheduleRig(cameras, running, wall, kept, ready)


async def test_a_window_starts_a_session_and_its_end_stops_it(autojump_clock: MockClock) -> None:
    """At these instants, once, and the session says who asked for it."""
    async with open_rig() as rig:
        await rig.until(CLOSES + timedelta(seconds=30))
        assert rig.told == ["STARTED 0 schedule nights", "STOPPED 0 schedule nights stopped"]
        (session,) = [session for session in rig.cameras.storage.sessions if session.end]
        assert session.end is not None
        assert abs((session.end - CLOSES).total_seconds()) < 1
        assert rig.camera.status.session is None


async def test_a_start_within_a_window_records_at_once(autojump_clock: MockClock) -> None:
    """The daemon was started late."""
    async with open_rig(before=-20) as rig:
        session = await rig.session()
        assert 20 <= (session.start - OPENS).total_seconds() < 21


async def test_the_status_says_how_the_schedule_stands(autojump_clock: MockClock) -> None:
    """Before, within and after the window; each change is an event."""
    async with open_rig() as rig:
        await rig.until(OPENS - timedelta(seconds=5))
        shown = rig.camera.status.schedule
        assert shown is not None
        assert (shown.name, shown.active, shown.next_change) == ("nights", False, OPENS)
        await rig.session()
        await trio.testing.wait_all_tasks_blocked()
        shown = rig.camera.status.schedule
        assert shown is not None
        assert (shown.active, shown.recording, shown.next_change) == (True, True, CLOSES)
        await rig.until(CLOSES + timedelta(seconds=5))
        shown = rig.camera.status.schedule
        assert shown is not None
        assert (shown.active, shown.recording) == (False, False)
        assert shown.next_change == OPENS + timedelta(days=1)
        told = [
            event.status.schedule.active
            for event in rig.cameras.heard
            if isinstance(event, CameraChanged) and event.status.schedule is not None
        ]
        assert [told[0], *(b for a, b in pairwise(told) if a is not b)] == [
            False,
            True,
            False,
        ]


# --- beside people ---------------------------------------------------------------------------


async def test_somebodys_session_is_not_touched(autojump_clock: MockClock) -> None:
    """It runs when the window opens, and when it closes."""
    async with open_rig() as rig:
        await rig.camera.start_recording(ANN)
        await rig.until(OPENS + timedelta(seconds=5))
        assert rig.overridden is OverriddenBy.MANUAL_RECORDING
        await rig.until(CLOSES + timedelta(seconds=5))
        assert rig.told == ["STARTED -10 ann"]
        assert rig.camera.status.session is not None


async def test_a_timed_recording_is_followed_by_the_schedule(autojump_clock: MockClock) -> None:
    """When it ends within the window."""
    async with open_rig(before=5) as rig:
        await rig.camera.start_recording(TIMED)
        await rig.until(CLOSES + timedelta(seconds=5))
        assert rig.told == [
            "STARTED -5 ann",
            "STOPPED -5 ann duration",
            "STARTED 5 schedule nights",
            "STOPPED 5 schedule nights stopped",
        ]


async def test_a_stop_by_hand_counts_until_the_end_of_the_window(
    autojump_clock: MockClock,
) -> None:
    """Neither at once nor later does it record again; in the next window it does."""
    async with open_rig() as rig:
        await rig.session()
        await rig.camera.stop_recording()
        await rig.until(CLOSES - timedelta(seconds=1))
        assert rig.told == ["STARTED 0 schedule nights", "STOPPED 0 schedule nights stopped"]
        assert rig.overridden is OverriddenBy.MANUAL_STOP
        await rig.until(CLOSES + timedelta(seconds=5))
        assert rig.overridden is None
        rig.wall.step(days=1, seconds=-60)
        await rig.until(CLOSES + timedelta(days=1, seconds=5))
        day = 24 * 3600 + 5
        assert rig.told[2:] == [
            f"STARTED {day} schedule nights",
            f"STOPPED {day} schedule nights stopped",
        ]


async def test_a_stop_of_somebodys_session_counts_as_well(autojump_clock: MockClock) -> None:
    """Whoever stops within a window wants no recording."""
    async with open_rig() as rig:
        await rig.camera.start_recording(ANN)
        await rig.until(OPENS + timedelta(seconds=5))
        await rig.camera.stop_recording()
        await rig.until(CLOSES)
        assert rig.told == ["STARTED -10 ann", "STOPPED -10 ann stopped"]


async def test_a_stop_before_the_window_says_nothing_about_it(autojump_clock: MockClock) -> None:
    """The schedule records."""
    async with open_rig() as rig:
        await rig.camera.start_recording(ANN)
        await rig.camera.stop_recording()
        await rig.until(OPENS + timedelta(seconds=5))
        assert rig.told[2:] == ["STARTED 0 schedule nights"]


async def test_a_start_by_hand_lifts_a_stop(autojump_clock: MockClock) -> None:
    """When that recording ends by itself within the window, the schedule goes on."""
    async with open_rig() as rig:
        await rig.session()
        await rig.camera.stop_recording()
        await rig.until(OPENS + timedelta(seconds=20))
        await rig.camera.start_recording(TIMED)
        await rig.until(OPENS + timedelta(seconds=45))
        assert rig.told[2:] == [
            "STARTED 20 ann",
            "STOPPED 20 ann duration",
            "STARTED 30 schedule nights",
        ]


async def test_a_stop_before_the_first_frame_counts(autojump_clock: MockClock) -> None:
    """The camera is slow, and somebody changes their mind."""
    async with open_rig() as rig:
        rig.cameras.cameras.launcher.then(refuses("Connection timed out", after=4))
        await rig.until(OPENS + timedelta(seconds=2))
        with pytest.raises(Refusal):
            await rig.camera.stop_recording()
        await rig.until(OPENS + timedelta(seconds=50))
        assert rig.told == []
        assert rig.overridden is OverriddenBy.MANUAL_STOP


async def test_a_stop_is_kept_over_a_restart(autojump_clock: MockClock) -> None:
    """The daemon that is started within the window does not record."""
    kept = KeptStops()
    async with open_rig(kept=kept) as rig:
        await rig.session()
        await rig.camera.stop_recording()
        await trio.testing.wait_all_tasks_blocked()
        stored = kept.stored
        assert stored is not None
        assert [(stop.camera, stop.by, stop.until) for stop in stored.stops] == [
            (CAMERA, "manual_stop", CLOSES)
        ]
    async with open_rig(kept=kept, before=-20) as rig:
        await rig.until(CLOSES + timedelta(seconds=3))
        assert rig.told == []
        assert kept.stored == StoredStops(1)  # it is forgotten afterwards


async def test_a_disk_that_hangs_keeps_nothing_from_being_recorded(
    autojump_clock: MockClock,
) -> None:
    """What was stopped in an earlier run is not known then."""
    async with open_rig(kept=HangingStops(), before=-20) as rig:
        session = await rig.session()
        assert 30 <= (session.start - OPENS).total_seconds() < 31


class HangingStops(KeptStops):
    """A file of stops on a disk that hangs."""

    async def load(self) -> StoredStops | None:
        """Never return."""
        await trio.sleep_forever()


async def test_a_stop_that_cannot_be_kept_counts_as_long_as_the_daemon_runs(
    autojump_clock: MockClock,
) -> None:
    """A full disk is an error in the log."""
    with capture_logs() as logs:
        async with open_rig(kept=KeptStops(full=True)) as rig:
            await rig.session()
            await rig.camera.stop_recording()
            await rig.until(CLOSES)
            assert len(rig.told) == 2
    assert "schedule_stops_not_saved" in [line["event"] for line in logs]


async def test_two_schedules_are_one_while_they_touch(autojump_clock: MockClock) -> None:
    """The session of the first goes on in the window of the second."""
    second = schedule("20:01", "20:02", "UTC", name="later")
    async with open_rig(MINUTE, second) as rig:
        await rig.until(CLOSES + timedelta(seconds=30))
        assert rig.told == ["STARTED 0 schedule nights"]
        await rig.until(CLOSES + timedelta(seconds=70))
        assert rig.told[1:] == ["STOPPED 0 schedule nights stopped"]


async def test_a_stop_counts_no_longer_than_its_own_window(autojump_clock: MockClock) -> None:
    """Where another window begins at its end, that one records."""
    second = schedule("20:01", "20:02", "UTC", name="later")
    async with open_rig(MINUTE, second) as rig:
        await rig.session()
        await rig.camera.stop_recording()
        await rig.until(CLOSES + timedelta(seconds=30))
        assert rig.told[2:] == ["STARTED 60 schedule later"]


# --- cameras and sources that fail -----------------------------------------------------------


async def test_a_camera_that_cannot_start_is_tried_again_and_says_why_once(
    autojump_clock: MockClock,
) -> None:
    """After 1 s, 2 s, 4 s; the log has one line, the status the reason."""
    with capture_logs() as logs:
        async with open_rig() as rig:
            for _ in range(3):
                rig.cameras.cameras.launcher.then(refuses("401 Unauthorized"))
            await rig.until(OPENS + timedelta(seconds=2))
            shown = rig.camera.status.schedule
            assert shown is not None
            assert shown.message
            session = await rig.session()
            assert 7 <= (session.start - OPENS).total_seconds() < 9
            await trio.testing.wait_all_tasks_blocked()
            shown = rig.camera.status.schedule
            assert shown is not None
            assert (shown.message, shown.recording) == ("", True)
    assert [line["event"] for line in logs].count("schedule_not_started") == 1


async def test_a_full_volume_is_tried_again(autojump_clock: MockClock) -> None:
    """Recording begins when there is space again, within the window."""
    async with open_rig() as rig:
        disk, space = rig.cameras.storage.disk, rig.cameras.storage.space
        free = disk.volume
        disk.volume = attrs.evolve(free, available_bytes=0)
        await space.refresh()
        await rig.until(OPENS + timedelta(seconds=20))
        shown = rig.camera.status.schedule
        assert shown is not None
        assert (rig.told, shown.message) == ([], "Storage space is critical")
        disk.volume = free
        await space.refresh()
        session = await rig.session()
        assert 20 < (session.start - OPENS).total_seconds() < 50


async def test_a_file_that_is_played_to_its_end_is_not_played_again(
    autojump_clock: MockClock,
) -> None:
    """Until the end of the window."""
    async with open_rig(source=EndingSource(320, 180, FPS)) as rig:
        rig.cameras.cameras.launcher.then(plays_once(5))
        await rig.until(CLOSES - timedelta(seconds=5))
        assert rig.told == ["STARTED 0 schedule nights", "STOPPED 0 schedule nights source_ended"]
        assert rig.overridden is OverriddenBy.SOURCE_ENDED


class EndingSource(SyntheticSource):
    """A synthetic source that has an end."""

    may_end = True


async def test_a_camera_that_comes_later_is_recorded(autojump_clock: MockClock) -> None:
    """It was plugged in, or a reload added it; one that goes is not looked after any more."""
    late = CameraId("late")
    both = attrs.evolve(MINUTE, cameras=("*",))
    async with open_rig(both) as rig:
        await rig.until(OPENS + timedelta(seconds=20))
        camera = rig.cameras.cameras.add(CameraConfig(late, SOURCE))
        status = await camera.published.wait_until(lambda status: status.session is not None)
        assert status.session is not None
        assert status.session.owner == "schedule nights"
        rig.cameras.cameras.remove(late)
        await rig.until(CLOSES + timedelta(seconds=5))
        assert rig.camera.status.session is None


# --- clocks ----------------------------------------------------------------------------------


async def test_a_clock_that_is_set_forward_into_a_window_opens_it(
    autojump_clock: MockClock,
) -> None:
    """Within a second: the machine slept, or learned the time."""
    async with open_rig(before=3600) as rig:
        await trio.sleep(100)
        rig.wall.step(seconds=3600 - 90)
        before = trio.current_time()
        await rig.session()
        assert trio.current_time() - before < 2


async def test_a_clock_that_is_set_back_out_of_a_window_closes_it(
    autojump_clock: MockClock,
) -> None:
    """It opens again when the clock gets there."""
    async with open_rig() as rig:
        await rig.session()
        await trio.sleep(5)
        rig.wall.step(seconds=-100)
        await rig.idle()
        assert rig.wall.now() < OPENS
        await rig.session()
        assert rig.wall.now() >= OPENS


async def test_a_small_correction_does_not_leave_a_window(autojump_clock: MockClock) -> None:
    """The clock goes back by seconds just after the window has opened."""
    async with open_rig() as rig:
        await rig.session()
        rig.wall.step(seconds=-5)
        await rig.until(CLOSES - timedelta(seconds=5))
        assert rig.told == ["STARTED 0 schedule nights"]


async def test_a_machine_that_sleeps_over_a_windows_end_stops_when_it_wakes(
    autojump_clock: MockClock,
) -> None:
    """And a stop of the first window says nothing about the second."""
    async with open_rig() as rig:
        await rig.session()
        await rig.camera.stop_recording()
        await trio.sleep(5)
        rig.wall.step(days=1)
        session = await rig.session()
        assert session.owner == "schedule nights"


# --- reloads and restarts --------------------------------------------------------------------


async def test_a_reload_changes_what_is_due(autojump_clock: MockClock) -> None:
    """A new window records at once; one that is gone or disabled ends its session."""
    async with open_rig(schedule("03:00", "04:00", "UTC")) as rig:
        await rig.until(OPENS + timedelta(seconds=5))
        assert rig.told == []
        rig.schedules.reconfigure((MINUTE,))
        await rig.session()
        rig.schedules.reconfigure((attrs.evolve(MINUTE, enabled=False),))
        await rig.idle()
        rig.schedules.reconfigure((MINUTE,))
        await rig.session()
        rig.schedules.reconfigure(())
        await rig.idle()
        assert rig.camera.status.schedule is None


async def test_a_session_that_a_schedule_left_is_ended_after_its_window(
    autojump_clock: MockClock,
) -> None:
    """It was resumed after the window's end, or its schedule is not configured any more."""
    request = RecordingRequest("schedule nights", key="schedule")
    for one in (schedule("03:00", "04:00", "UTC"), attrs.evolve(MINUTE, cameras=("other",))):
        async with open_rig(one, resumed=False) as rig:
            await rig.camera.start_recording(request)
            rig.ready.set()
            await rig.idle()


async def test_nothing_is_started_before_old_sessions_are_resumed(
    autojump_clock: MockClock,
) -> None:
    """Else the schedule would begin a second session beside its own."""
    async with open_rig(resumed=False) as rig:
        await rig.until(OPENS + timedelta(seconds=30))
        assert rig.told == []
        assert len(list(rig.schedules.configured)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"version": 2, "stops": []}',
        '{"version": 1, "stops": [{"camera": "a", "by": "x", "until": "2026-01-01T00:00:00Z"}]}',
        '{"version": 1, "stops": [{"camera": "a", "by": "manual_stop", "until": "2026-01-01"}]}',
        '{"version": 1, "stops": 5}',
    ],
)
def test_a_file_of_stops_that_is_wrong_is_not_understood(text: str) -> None:
    """Each is a ValueError, so the file is set aside."""
    with pytest.raises(ValueError, match=r".+"):
        parse_stops(text)


def test_a_stop_counts_until_its_instant() -> None:
    """Not at it; and it is not kept for longer."""
    memory, stop = KeptStops().memory, Override(OverriddenBy.MANUAL_STOP, CLOSES)
    memory.put(CAMERA, stop)
    assert memory.get(CAMERA, CLOSES - timedelta(microseconds=1)) == stop
    assert memory.get(CAMERA, CLOSES) is None
    memory.forget_past(CLOSES)
    assert memory.get(CAMERA, OPENS) is None


def test_stops_are_bounded() -> None:
    """Those above the bound are not kept."""
    memory, stop = KeptStops().memory, Override(OverriddenBy.MANUAL_STOP, CLOSES)
    for number in range(MOST_STOPS + 1):
        memory.put(CameraId(f"camera{number}"), stop)
    assert memory.get(CameraId(f"camera{MOST_STOPS - 1}"), OPENS) == stop
    assert memory.get(CameraId(f"camera{MOST_STOPS}"), OPENS) is None


@attrs.define(eq=False)
class FailingSchedule(CameraSchedule):
    """A camera's schedule with a bug that shows once."""

    failed: bool = False

    def _show(self) -> None:
        if not self.failed:
            self.failed = True
            raise ZeroDivisionError
        super()._show()


async def test_a_bug_in_one_schedule_is_logged_and_it_starts_anew(
    autojump_clock: MockClock,
) -> None:
    """The session of its window is begun all the same."""
    with capture_logs() as logs:
        async with open_rig(resumed=False) as rig:  # beside the test's own follower is none
            follower = FailingSchedule(
                camera=rig.camera,
                schedules=(MINUTE,),
                time=ScheduleTime(rig.wall.clock),
                stops=rig.kept.memory,
                clock=rig.wall.clock,
            )
            async with trio.open_nursery() as nursery:
                nursery.start_soon(supervise, "schedule", follower.serve, follower.crashed)
                await rig.until(OPENS)
                follower.wake_if_due()
                assert (await rig.session()).owner == "schedule nights"
                nursery.cancel_scope.cancel()
    assert "actor_crashed" in [line["event"] for line in logs]
