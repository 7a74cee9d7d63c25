"""An early stop, and a start while another session ends, lose nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from support.camera_rig import REQUEST, CameraRig, at, open_camera_rig
from support.fake_ffmpeg import streams
from trio.testing import MockClock

from camd.config.schema import RecordingConfig
from camd.errors import Refusal
from camd.model import RecordingRequest, Session

KEYED = RecordingRequest("ann", key="k1")


async def long_groups(child: object) -> int:
    """Deliver a key frame every five seconds."""
    child.stream.group = 50  # type: ignore[attr-defined]
    return await streams()(child)  # type: ignore[arg-type]


async def start_and_stop(
    rig: CameraRig, begin: float, end: float, wish: RecordingRequest = REQUEST
) -> list[Session | Refusal]:
    """Start at one moment and stop at another; return both answers, the start's first."""
    answers: dict[str, Session | Refusal] = {}

    async def ask(name: str) -> None:
        camera = rig.camera
        try:
            answers[name] = await (
                camera.start_recording(wish) if name == "start" else camera.stop_recording()
            )
        except Refusal as refusal:
            answers[name] = refusal

    async with trio.open_nursery() as nursery:
        await trio.sleep_until(begin)
        nursery.start_soon(ask, "start")
        await trio.sleep_until(end)
        nursery.start_soon(ask, "stop")
    return [answers["start"], answers["stop"]]


@pytest.mark.parametrize("preroll", [0, 4])
@pytest.mark.parametrize("admission", [0.9, 2.0, 3.5])
@pytest.mark.parametrize("end", [12.6, 13.0, 13.3])
async def test_a_stop_before_there_is_room_keeps_what_was_asked_for(
    clock: MockClock, end: float, admission: float, preroll: int
) -> None:
    """However long the admission takes, all frames from the start to the stop are in the file."""
    recording = RecordingConfig(preroll=timedelta(seconds=preroll))
    async with open_camera_rig(long_groups, always_on=True, recording=recording) as rig:
        rig.space.seconds = admission
        started, session = await start_and_stop(rig, 12.2, end)
        assert isinstance(started, Session)
        assert isinstance(session, Session)
        (segment,) = session.segments
        assert segment.start <= at(12.2 - preroll)
        assert segment.end >= at(end)
        assert segment.end <= at(end + 0.5)
        assert session.gaps == ()
        rig.check(session)
        assert rig.camera.status.session is None


async def test_a_stop_before_there_is_room_takes_nothing_from_afterwards(
    clock: MockClock,
) -> None:
    """Frames after the stop, during the admission, are not recorded."""
    async with open_camera_rig(always_on=True) as rig:
        rig.space.seconds = 3.8
        _, session = await start_and_stop(rig, 12.2, 12.4)
        assert isinstance(session, Session)
        assert session.segments[-1].end <= at(13.0)
        assert session.gaps == ()
        rig.check(session)


async def test_a_slow_admission_costs_no_footage(clock: MockClock) -> None:
    """A session begins with the request, however long the reservation takes."""
    async with open_camera_rig(long_groups, always_on=True) as rig:
        rig.space.seconds = 3.5
        await trio.sleep_until(12.2)
        started = await rig.camera.start_recording(REQUEST)
        assert started.start == at(10)
        await trio.sleep_until(18.2)
        session = await rig.camera.stop_recording()
        assert session.gaps == ()
        assert session.frames_written >= 82
        rig.check(session)


async def test_a_stop_before_a_camera_is_on_is_a_refusal(clock: MockClock) -> None:
    """Both calls are refused since nothing was recorded, and no file is left."""
    async with open_camera_rig() as rig:
        rig.space.seconds = 1.0
        started, stopped = await start_and_stop(rig, 1.0, 1.5)
        assert isinstance(started, Refusal)
        assert isinstance(stopped, Refusal)
        assert "before its first frame" in started.message
        assert rig.disk.files == {}
        assert rig.storage.status.promised_bytes == 0


async def test_a_start_with_the_key_of_a_session_that_ends_begins_another(
    clock: MockClock,
) -> None:
    """It waits for the end, and its answer names a session that records."""
    async with open_camera_rig(always_on=True) as rig:
        first = await rig.camera.start_recording(KEYED)
        await trio.sleep_until(5.2)
        stopped: list[Session] = []
        again: list[Session] = []

        async def stop() -> None:
            stopped.append(await rig.camera.stop_recording())

        async def start() -> None:
            again.append(await rig.camera.start_recording(KEYED))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            await trio.sleep(0.1)
            session = rig.camera.status.session
            assert session is not None
            assert session.state.value == "ENDING"
            nursery.start_soon(start)
            nursery.start_soon(start)
        assert {session.session_id for session in again} == {again[0].session_id}
        assert again[0].session_id != first.session_id
        assert stopped[0].session_id == first.session_id
        await trio.sleep(2)
        second = await rig.camera.stop_recording()
        assert second.session_id == again[0].session_id
        assert second.frames_written >= 20
        starts = [kind for kind in rig.events_told if kind == "STARTED"]
        assert len(starts) == 2


async def test_a_start_that_waits_for_an_end_is_refused_at_the_shutdown(clock: MockClock) -> None:
    """The waiting start is refused because the service stops."""
    async with open_camera_rig(always_on=True) as rig:
        rig.storage.seconds = 1.0
        await rig.camera.start_recording(KEYED)
        refusals: list[Refusal] = []

        async def start() -> None:
            with pytest.raises(Refusal) as caught:
                await rig.camera.start_recording(KEYED)
            refusals.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.camera.stop_recording)
            await trio.sleep(0.1)
            nursery.start_soon(start)
            await trio.sleep(0.1)
            nursery.start_soon(rig.camera.close)
        assert [refusal.kind.code for refusal in refusals] == [-1021]
