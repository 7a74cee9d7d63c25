"""captured = written + ledgered: checked at every seal and at the end; an error is an event."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import trio
from structlog.testing import capture_logs
from support.camera_rig import REQUEST, open_camera_rig
from trio.testing import MockClock

from camd.config.schema import RecordingConfig
from camd.model import Gap
from camd.recording.rules.ledger import SessionLedger


async def test_lost_frames_are_reported_at_the_next_seal(clock: MockClock) -> None:
    """A bug that loses frames is reported at the next seal, once for each bug (I4)."""
    recording = RecordingConfig(rotation=timedelta(seconds=2))
    error = "ERROR frames unaccounted for"
    async with open_camera_rig(recording=recording) as rig:
        await rig.camera.start_recording(REQUEST)
        assert rig.camera._session is not None
        book = rig.camera._session.ledger
        await trio.sleep_until(4.2)
        assert rig.events_told == ["STARTED", "ROTATED"]
        book.frames_captured += 3
        with capture_logs() as logs:
            await trio.sleep_until(8.2)
            assert rig.events_told == ["STARTED", "ROTATED", error, "ROTATED", "ROTATED"]
            book.frames_written -= 1
            await rig.camera.stop_recording()
        assert rig.events_told[5:] == [error, "ROTATED", "STOPPED stopped"]
        found = [entry for entry in logs if entry["event"] == "frames_unaccounted"]
        assert [entry["unaccounted"] for entry in found] == [3, 4]
        assert all(entry["session"] == book.session_id for entry in found)


async def test_frames_in_hand_or_pending_are_not_missing(clock: MockClock) -> None:
    """A seal while frames wait for their entry reports no error."""
    recording = RecordingConfig(rotation=timedelta(seconds=2))
    async with open_camera_rig(recording=recording) as rig:
        await rig.camera.start_recording(REQUEST)
        with capture_logs() as logs:
            for seconds, percent in ((3.2, 96), (5.2, 50), (7.7, 96), (9.7, 50)):
                await trio.sleep_until(seconds)
                rig.fill(percent)
            await trio.sleep_until(12.2)
            session = await rig.camera.stop_recording()
        assert len(session.gaps) == 2
        assert [entry for entry in logs if entry["log_level"] == "error"] == []
        rig.check(session)


async def test_lost_frames_after_the_last_seal_are_reported_at_the_end(
    clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug in the very last entry is reported, although no seal follows."""
    async with open_camera_rig() as rig:
        await rig.camera.start_recording(REQUEST)
        assert rig.camera._session is not None
        book, finish = rig.camera._session.ledger, SessionLedger.finish

        def forgetful(ledger: SessionLedger, until: datetime) -> list[Gap]:
            book.frames_captured += 2
            return finish(ledger, until)

        monkeypatch.setattr(SessionLedger, "finish", forgetful)
        with capture_logs() as logs:
            await rig.camera.stop_recording()
        found = [entry for entry in logs if entry["event"] == "frames_unaccounted"]
        assert [entry["unaccounted"] for entry in found] == [2]
