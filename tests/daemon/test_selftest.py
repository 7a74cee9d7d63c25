"""`camd selftest`: the whole recorder is tried on this machine, and nothing of it stays."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from camd.cli.checks.disk_speed import FRAGMENT_BYTES, measure_disk
from camd.cli.setup.selftest import RETURN_SECONDS, recording_again


def selftest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command with its recordings in a folder."""
    file = folder / "camd.toml"
    file.write_text(f'[storage]\nrecordings_dir = "{folder / "recordings"}"\n', encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "camd", "selftest", "--config", file, *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_sound_machine_passes(tmp_path: Path) -> None:
    """FFmpeg and the service are killed: both gaps are in the ledger, and the folder is empty."""
    (tmp_path / "recordings").mkdir()
    done = selftest(tmp_path, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["failures"] == []
    causes = {gap["cause"] for gap in report["gaps"]}
    # An encoder that a busy machine keeps waiting leaves frames out, which is in the ledger, too.
    assert causes - {"frames_dropped_by_source"} == {"encoder_exit", "daemon_down"}
    assert report["frames"] > 0
    assert report["checked_files"] > 1
    limit = report["space_limit"]
    assert limit is None or limit == {"refused": True, "then_allowed": True}
    assert list((tmp_path / "recordings").iterdir()) == []


def test_what_keeps_it_from_running_is_said(tmp_path: Path) -> None:
    """A folder in whose place a file stands is named, in one line."""
    (tmp_path / "recordings").write_bytes(b"")
    done = selftest(tmp_path)
    assert done.returncode == 1
    assert str(tmp_path / "recordings") in done.stderr
    assert "Traceback" not in done.stderr


def test_the_measured_file_is_removed(tmp_path: Path) -> None:
    """Each write is timed, the longest last; the folder stays empty."""
    speed = measure_disk(tmp_path, 3)
    assert len(speed.seconds) == 3
    assert 0 < speed.median <= speed.longest == max(speed.seconds)
    assert speed.bytes_per_second == 3 * FRAGMENT_BYTES / sum(speed.seconds)
    assert list(tmp_path.iterdir()) == []


@attrs.define
class LateRecording:
    """A client whose recording goes on at a moment."""

    at: float

    async def call(self, method: str, *, device: str) -> dict[str, Any]:
        """Answer as `get_recording_status` does."""
        await trio.lowlevel.checkpoint()
        assert (method, device) == ("get_recording_status", "camera0")
        goes_on = trio.current_time() >= self.at
        return {"status": "RECORDING" if goes_on else "WAITING", "gaps": [{}]}


@pytest.mark.parametrize("waits", [1, RETURN_SECONDS - 1, RETURN_SECONDS + 1])
async def test_a_recording_that_goes_on_late_went_on(
    waits: float, autojump_clock: MockClock
) -> None:
    """The start before the wait took long, too: only what does not come is a failure."""
    killed = trio.current_time()
    await trio.sleep(RETURN_SECONDS)  # until the service answers
    client: Any = LateRecording(trio.current_time() + waits)
    back = await recording_again(client, killed, gaps=1)
    if waits > RETURN_SECONDS:
        assert back is None
    else:
        assert back == pytest.approx(RETURN_SECONDS + waits, abs=0.2)
