"""Kill a daemon with four sessions again and again, and check its files after each kill.

It is killed while it starts, recovers, records, rotates and seals, and while it stops. Errors are
collected and not raised, so that a long run reports all of them.
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import trio
from folder_watch import watching
from kill_rules import (
    FileState,
    Kill,
    KilledFile,
    Moment,
    inspect_file,
    is_cut_from,
    receipt_errors,
)
from running_daemon import FRAGMENT_FRAMES, Daemon, hash_of, packets, receipt_hash, small_camera

from camd.client import Client

RESUMES = {"recording": {"rotation": "1s", "resume_sessions": True}}
CAMERAS = 4
RESUME_SECONDS = 100.0  # until a session is resumed, on a busy machine
HASH_SECONDS = 60.0
WRITES_BEFORE_THE_SEAL = 3  # the header and two fragments of half a second


@attrs.define(eq=False)
class RepeatedKills:
    """One daemon, its sessions, and what is known of all their files."""

    daemon: Daemon
    known: Sequence[str]  # hashes of the packets of the clip that cameras copy
    rng: random.Random
    count: int = CAMERAS
    sessions: dict[str, str] = attrs.field(factory=dict, init=False)
    kills: list[Kill] = attrs.field(factory=list, init=False)
    wrong: list[str] = attrs.field(factory=list, init=False)
    unhashed: list[str] = attrs.field(
        factory=list, init=False
    )  # files without a hash after a long wait
    _run_number: int = attrs.field(default=0, init=False)
    _run_of: dict[Path, int] = attrs.field(factory=dict, init=False)  # files with frames
    _packets: dict[Path, list[str]] = attrs.field(factory=dict, init=False)
    _unsettled: list[Path] = attrs.field(factory=list, init=False)
    _seen: set[Path] = attrs.field(factory=set, init=False)
    _frames_told: dict[str, int] = attrs.field(factory=dict, init=False)  # by camera
    _resumed_after: float | None = attrs.field(default=None, init=False)

    def configure(self, clip: Path) -> None:
        """Configure synthetic cameras; every second one copies a clip."""
        clip_camera = {"source": f"file:{clip}", "codec": "copy"}
        cameras = [clip_camera if n % 2 else small_camera() for n in range(self.count)]
        self.daemon.configure(RESUMES, cameras)

    @property
    def cameras(self) -> list[str]:
        """The cameras' names."""
        return [f"camera{number}" for number in range(self.count)]

    def _report(self, what: str) -> None:
        self.wrong.append(f"run {self._run_number}: {what}")

    # --- start, kill, end

    async def begin(self) -> None:
        """Start the daemon and a session on every camera."""
        await self.daemon.start()
        async with self.daemon.client() as client:
            for camera in self.cameras:
                started = await client.call("start_recording", device=camera, key="k")
                self.sessions[camera] = started["session_id"]
            await self._kill_while(Moment.RECORDING, client)

    async def kill(self, moment: Moment) -> None:
        """Start the daemon again, and kill it at this moment."""
        self._run_number += 1
        self._resumed_after = None
        if moment is Moment.STARTING:
            self.daemon.launch()
            await trio.sleep(self.rng.uniform(0.0, 1.5))
            await self._kill_daemon(moment)
            return
        began = time.monotonic()
        await self.daemon.start()
        async with self.daemon.client() as client:
            if moment is not Moment.RESUMING:
                await self._wait_resumed(client)
                self._resumed_after = time.monotonic() - began
                await self._check_old_files(client)
            await self._kill_while(moment, client)

    async def end(self) -> None:
        """Start the daemon for the last time, stop every session, and check the receipts."""
        self._run_number += 1
        await self.daemon.start()
        async with self.daemon.client() as client:
            await self._wait_resumed(client)
            await self._check_old_files(client)
            await self._wait_hashes(client)
            stopped = {}
            for camera in self.cameras:
                stopped[camera] = await client.call("stop_recording", device=camera)
            await self._read_new_files(Moment.STOPPING)
            await self._check_old_files(client)
            for camera, answer in stopped.items():
                await self._check_receipt(camera, answer)
        await self.daemon.stop()
        if "Traceback" in self.daemon.log:
            self._report("a traceback in the log")

    # --- the kill

    async def _kill_while(self, moment: Moment, client: Client) -> None:
        with watching(self.daemon.recordings) as wait_file:
            await self._note_frames(client)
            match moment:
                case Moment.RESUMING:
                    await self._wait_near_first_file(wait_file)
                case Moment.CREATING:
                    await trio.to_thread.run_sync(wait_file, 0)
                    await trio.sleep(self.rng.uniform(0.0, 0.01))
                case Moment.SEALING:
                    await trio.to_thread.run_sync(wait_file, WRITES_BEFORE_THE_SEAL + 1)
                    await trio.sleep(self.rng.uniform(0.0, 0.003))
                case Moment.STOPPING:
                    self.daemon.signal(signal.SIGTERM)
                    await trio.sleep(self.rng.uniform(0.0, 0.5))
                case _:
                    await trio.sleep(self.rng.uniform(0.0, 2.0))
                    await self._note_frames(client)
            await self._kill_daemon(moment)

    async def _wait_near_first_file(self, wait_file: Callable[[int], None]) -> None:
        """Wait for a random time in recovery, or until the first session is resumed."""
        if self.rng.random() < 0.5:
            await trio.sleep(self.rng.uniform(0.0, 1.0))
        elif not any(path not in self._seen for path in self.daemon.recordings.glob("*.mp4")):
            await trio.to_thread.run_sync(wait_file, 0)
            await trio.sleep(self.rng.uniform(0.0, 0.01))

    async def _note_frames(self, client: Client) -> None:
        """Note the frames that the daemon reports as written; they must never be lost."""
        for camera in self.cameras:
            status = await client.call("get_recording_status", device=camera)
            if status is None:
                continue
            self._frames_told[camera] = max(
                self._frames_told.get(camera, 0), status["frames_written"]
            )
            if status["frames_captured"] - status["frames_written"] > FRAGMENT_FRAMES:
                self._report(f"{camera}: more than a fragment in flight: {status}")

    async def _kill_daemon(self, moment: Moment) -> None:
        self.daemon.signal(signal.SIGKILL)
        moment_of_death = datetime.now(UTC)
        ended = await self.daemon.wait_end()
        if ended != -signal.SIGKILL and not (moment is Moment.STOPPING and ended == 0):
            self._report(f"ended with {ended}")
        processes = await trio.to_thread.run_sync(self.daemon.wait_no_processes)
        if processes:
            self._report(f"processes were left: {processes}")
        found = await self._read_new_files(moment)
        lost = [
            (moment_of_death - max(some)).total_seconds()
            for camera in self.cameras
            if (some := [r.end for p, r in found.items() if _of(p) == camera and r.end])
        ]
        left = Counter(one.left for one in found.values())
        self.kills.append(Kill(moment, left, tuple(lost), self._resumed_after))

    async def _read_new_files(self, moment: Moment) -> dict[Path, KilledFile]:
        """Read the files of this run; what a kill left must play as it is (I1)."""
        new = sorted(set(self.daemon.recordings.glob("*.mp4")) - self._seen)
        self._seen.update(new)
        found = {path: inspect_file(path.read_bytes()) for path in new}
        for path, one in found.items():
            if one.left is FileState.EMPTY:
                continue
            self._run_of[path] = self._run_number
            self._unsettled.append(path)
            if one.left is not FileState.SEALED:
                await self._play(path)
        for camera in self.cameras:
            open_ones = [
                path.name
                for path, one in found.items()
                if one.left is not FileState.SEALED and _of(path) == camera
            ]
            if len(open_ones) > 1:
                self._report(f"{moment.value}: more than one file was open: {open_ones}")
        return found

    async def _play(self, path: Path) -> list[str]:
        try:
            return await trio.to_thread.run_sync(packets, path)
        except AssertionError as error:
            self._report(f"FFmpeg reports: {error}")
            return []

    # --- after the next start

    async def _wait_resumed(self, client: Client) -> None:
        """Wait until every session records in this run, under its old id (I2)."""
        for camera in self.cameras:
            status: Any = None
            with trio.move_on_after(RESUME_SECONDS):
                while not self._resumed(status):
                    await trio.sleep(0.05)
                    status = await client.call("get_recording_status", device=camera)
            if not self._resumed(status):
                self._report(f"{camera}: the session is not resumed: {status}")
            elif status["session_id"] != self.sessions[camera]:
                self._report(f"{camera}: another session: {status['session_id']}")

    def _resumed(self, status: Mapping[str, Any] | None) -> bool:
        return (
            status is not None
            and status["status"] == "RECORDING"
            and self.daemon.recordings / status["current_file"] not in self._seen
        )

    async def _check_old_files(self, client: Client) -> None:
        """Check that files of earlier runs are sealed, play and have all their frames."""
        fresh, self._unsettled = self._unsettled, []
        for path in fresh:
            one = inspect_file(path.read_bytes())
            if one.left is not FileState.SEALED:
                self._report(f"{path.name} is {one.left.value} after recovery")
            self._packets[path] = await self._play(path)
            info = await client.call("get_recording_info", filename=path.name)
            told, held = (info["status"], info["frames"]), len(self._packets[path])
            if told != ("completed", held):
                self._report(f"{path.name}: {held} frames, the index says {told}")
            if info["session_id"] != self.sessions[_of(path)]:
                self._report(f"{path.name} is of session {info['session_id']}")
        self._compare_with_the_source({self._run_of[path] for path in fresh})
        for camera, frames in self._frames_told.items():
            held = sum(len(some) for path, some in self._packets.items() if _of(path) == camera)
            if held < frames:
                self._report(f"{camera}: {frames} frames were written, {held} are there")

    def _compare_with_the_source(self, runs: set[int]) -> None:
        """Check that copied packets are in order and complete, run by run (I3)."""
        for camera in self.cameras[1::2]:
            for run in runs:
                joined = [
                    packet
                    for path in sorted(self._packets)
                    if self._run_of[path] == run and _of(path) == camera
                    for packet in self._packets[path]
                ]
                if not is_cut_from(self.known, joined):
                    self._report(f"{camera}: {len(joined)} packets are not the clip's")

    async def _wait_hashes(self, client: Client) -> None:
        """Wait for the hashes of recovered files."""
        for path in self._packets:
            with trio.move_on_after(HASH_SECONDS) as scope:
                await hash_of(client, path.name)
            if scope.cancelled_caught:
                self.unhashed.append(path.name)

    async def _check_receipt(self, camera: str, stopped: Mapping[str, Any]) -> None:
        if stopped["session_id"] != self.sessions[camera]:
            self._report(f"{camera}: another session was stopped")
        paths = [path for path in self._run_of if _of(path) == camera]
        for found in receipt_errors(
            stopped["receipt"],
            {path.name: self._run_of[path] for path in paths},
            {path.name: len(self._packets[path]) for path in paths},
            {path.name: receipt_hash(path) for path in paths},
        ):
            self._report(f"{camera}: {found}")

    @property
    def frames(self) -> int:
        """The number of frames in all files."""
        return sum(map(len, self._packets.values()))

    @property
    def files(self) -> int:
        """The number of files with frames."""
        return len(self._packets)


def _of(path: Path) -> str:
    """Return the camera of a file."""
    return path.name.partition("_")[0]


async def run_kills(kills_run: RepeatedKills, moments: Sequence[Moment]) -> None:
    """Start the sessions, kill the daemon at each moment, and end the sessions."""
    await kills_run.begin()
    for moment in moments:
        await kills_run.kill(moment)
    await kills_run.end()
