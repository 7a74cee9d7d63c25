"""A daemon with four sessions that is killed again and again, and looked at after each time.

Kills come while it starts, recovers, records, cuts and seals, and while it stops. Whatever is
found wrong is collected and not raised, so that a long run tells everything at once.
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
from daemon_stage import FRAGMENT_FRAMES, Daemon, hash_of, packets, signature, small_camera
from folder_watch import watching
from kill_account import Kill, Left, Moment, Remains, is_cut_from, judge_receipt, remains

from camd.client import Client

RESUMES = {"recording": {"rotation": "1s", "resume_sessions": True}}
CAMERAS = 4
PATIENCE_SECONDS = 40.0  # for a session to go on, on a machine that does much else
CHILDREN_SECONDS = 2.0
HASH_SECONDS = 5.0
WRITES_BEFORE_THE_SEAL = 3  # the header and two fragments of half a second


@attrs.define(eq=False)
class Ordeal:
    """One daemon, its sessions, and what is known of every file that they have."""

    daemon: Daemon
    known: Sequence[str]  # hashes of the packets that the copied cameras play
    dice: random.Random
    count: int = CAMERAS
    sessions: dict[str, str] = attrs.field(factory=dict, init=False)
    kills: list[Kill] = attrs.field(factory=list, init=False)
    wrong: list[str] = attrs.field(factory=list, init=False)
    unhashed: list[str] = attrs.field(factory=list, init=False)  # files, even after a long wait
    _life: int = attrs.field(default=0, init=False)
    _lives: dict[Path, int] = attrs.field(factory=dict, init=False)  # files with frames
    _packets: dict[Path, list[str]] = attrs.field(factory=dict, init=False)
    _unsettled: list[Path] = attrs.field(factory=list, init=False)
    _seen: set[Path] = attrs.field(factory=set, init=False)
    _told: dict[str, int] = attrs.field(factory=dict, init=False)  # frames said to be written
    _back: float | None = attrs.field(default=None, init=False)

    def configure(self, clip: Path) -> None:
        """Give the daemon synthetic cameras and, every second one, a copied film."""
        film = {"source": f"file:{clip}", "codec": "copy"}
        cameras = [film if n % 2 else small_camera() for n in range(self.count)]
        self.daemon.configure(RESUMES, cameras)

    @property
    def cameras(self) -> list[str]:
        """The cameras' names."""
        return [f"camera{number}" for number in range(self.count)]

    def _complain(self, what: str) -> None:
        self.wrong.append(f"life {self._life}: {what}")

    # --- the story

    async def begin(self) -> None:
        """Start the daemon and a session on every camera."""
        await self.daemon.start()
        async with self.daemon.client() as client:
            for camera in self.cameras:
                started = await client.call("start_recording", device=camera, key="k")
                self.sessions[camera] = started["session_id"]
            await self._kill_while(Moment.RECORDING, client)

    async def kill(self, moment: Moment) -> None:
        """Start the daemon again, and kill it at such a moment."""
        self._life += 1
        self._back = None
        if moment is Moment.STARTING:
            self.daemon.launch()
            await trio.sleep(self.dice.uniform(0.0, 1.5))
            await self._die(moment)
            return
        began = time.monotonic()
        await self.daemon.start()
        async with self.daemon.client() as client:
            if moment is not Moment.RESUMING:
                await self._all_go_on(client)
                self._back = time.monotonic() - began
                await self._settle(client)
            await self._kill_while(moment, client)

    async def end(self) -> None:
        """Start the daemon for the last time, stop every session, and judge the receipts."""
        self._life += 1
        await self.daemon.start()
        async with self.daemon.client() as client:
            await self._all_go_on(client)
            await self._settle(client)
            await self._hashed(client)
            stopped = {}
            for camera in self.cameras:
                stopped[camera] = await client.call("stop_recording", device=camera)
            await self._take_in(Moment.STOPPING)
            await self._settle(client)
            for camera, answer in stopped.items():
                await self._judge(camera, answer)
        await self.daemon.stop()
        if "Traceback" in self.daemon.log:
            self._complain("a traceback in the log")

    # --- dying

    async def _kill_while(self, moment: Moment, client: Client) -> None:
        with watching(self.daemon.recordings) as wait_file:
            await self._note_what_is_told(client)
            match moment:
                case Moment.RESUMING:
                    await self._until_about_the_first_file(wait_file)
                case Moment.CREATING:
                    await trio.to_thread.run_sync(wait_file, 0)
                    await trio.sleep(self.dice.uniform(0.0, 0.01))
                case Moment.SEALING:
                    await trio.to_thread.run_sync(wait_file, WRITES_BEFORE_THE_SEAL + 1)
                    await trio.sleep(self.dice.uniform(0.0, 0.003))
                case Moment.STOPPING:
                    self.daemon.signal(signal.SIGTERM)
                    await trio.sleep(self.dice.uniform(0.0, 0.5))
                case _:
                    await trio.sleep(self.dice.uniform(0.0, 2.0))
                    await self._note_what_is_told(client)
            await self._die(moment)

    async def _until_about_the_first_file(self, wait_file: Callable[[int], None]) -> None:
        """Wait somewhere in recovery, or for the moment at which a session goes on."""
        if self.dice.random() < 0.5:
            await trio.sleep(self.dice.uniform(0.0, 1.0))
        elif not any(path not in self._seen for path in self.daemon.recordings.glob("*.mp4")):
            await trio.to_thread.run_sync(wait_file, 0)
            await trio.sleep(self.dice.uniform(0.0, 0.01))

    async def _note_what_is_told(self, client: Client) -> None:
        """Remember what the daemon says to have written; that must never go again."""
        for camera in self.cameras:
            status = await client.call("get_recording_status", device=camera)
            if status is None:
                continue
            self._told[camera] = max(self._told.get(camera, 0), status["frames_written"])
            if status["frames_captured"] - status["frames_written"] > FRAGMENT_FRAMES:
                self._complain(f"{camera}: more than a fragment in flight: {status}")

    async def _die(self, moment: Moment) -> None:
        self.daemon.signal(signal.SIGKILL)
        moment_of_death = datetime.now(UTC)
        ended = await self.daemon.wait_end()
        if ended != -signal.SIGKILL and not (moment is Moment.STOPPING and ended == 0):
            self._complain(f"ended with {ended}")
        children = await trio.to_thread.run_sync(self.daemon.wait_no_children, CHILDREN_SECONDS)
        if children:
            self._complain(f"children were left: {children}")
        found = await self._take_in(moment)
        lost = [
            (moment_of_death - max(some)).total_seconds()
            for camera in self.cameras
            if (some := [r.end for p, r in found.items() if _of(p) == camera and r.end])
        ]
        left = Counter(one.left for one in found.values())
        self.kills.append(Kill(moment, left, tuple(lost), self._back))

    async def _take_in(self, moment: Moment) -> dict[Path, Remains]:
        """Look at the files of this life; what a kill left plays as it is (I1)."""
        new = sorted(set(self.daemon.recordings.glob("*.mp4")) - self._seen)
        self._seen.update(new)
        found = {path: remains(path.read_bytes()) for path in new}
        for path, one in found.items():
            if one.left is Left.EMPTY:
                continue
            self._lives[path] = self._life
            self._unsettled.append(path)
            if one.left is not Left.SEALED:
                await self._play(path)
        for camera in self.cameras:
            open_ones = [
                path.name
                for path, one in found.items()
                if one.left is not Left.SEALED and _of(path) == camera
            ]
            if len(open_ones) > 1:
                self._complain(f"{moment.value}: more than one file was open: {open_ones}")
        return found

    async def _play(self, path: Path) -> list[str]:
        try:
            return await trio.to_thread.run_sync(packets, path)
        except AssertionError as error:
            self._complain(f"FFmpeg complains: {error}")
            return []

    # --- living again

    async def _all_go_on(self, client: Client) -> None:
        """Wait until every session records in this life, under the id that it had (I2)."""
        for camera in self.cameras:
            status: Any = None
            with trio.move_on_after(PATIENCE_SECONDS):
                while not self._goes_on(status):
                    await trio.sleep(0.05)
                    status = await client.call("get_recording_status", device=camera)
            if not self._goes_on(status):
                self._complain(f"{camera}: the session does not go on: {status}")
            elif status["session_id"] != self.sessions[camera]:
                self._complain(f"{camera}: another session: {status['session_id']}")

    def _goes_on(self, status: Mapping[str, Any] | None) -> bool:
        return (
            status is not None
            and status["status"] == "RECORDING"
            and self.daemon.recordings / status["current_file"] not in self._seen
        )

    async def _settle(self, client: Client) -> None:
        """Files of earlier lives are sealed, play, and hold what they should; for good."""
        fresh, self._unsettled = self._unsettled, []
        for path in fresh:
            one = remains(path.read_bytes())
            if one.left is not Left.SEALED:
                self._complain(f"{path.name} is {one.left.value} after recovery")
            self._packets[path] = await self._play(path)
            info = await client.call("get_recording_info", filename=path.name)
            told, held = (info["status"], info["frames"]), len(self._packets[path])
            if told != ("completed", held):
                self._complain(f"{path.name}: {held} frames, the index says {told}")
            if info["session_id"] != self.sessions[_of(path)]:
                self._complain(f"{path.name} is of session {info['session_id']}")
        self._compare_with_the_source({self._lives[path] for path in fresh})
        for camera, frames in self._told.items():
            held = sum(len(some) for path, some in self._packets.items() if _of(path) == camera)
            if held < frames:
                self._complain(f"{camera}: {frames} frames were written, {held} are there")

    def _compare_with_the_source(self, lives: set[int]) -> None:
        """A copied film's packets are there in order and without a hole, life by life (I3)."""
        for camera in self.cameras[1::2]:
            for life in lives:
                joined = [
                    packet
                    for path in sorted(self._packets)
                    if self._lives[path] == life and _of(path) == camera
                    for packet in self._packets[path]
                ]
                if not is_cut_from(self.known, joined):
                    self._complain(f"{camera}: {len(joined)} packets are not the film's")

    async def _hashed(self, client: Client) -> None:
        """Wait for the hashes of recovered files."""
        for path in self._packets:
            with trio.move_on_after(HASH_SECONDS) as scope:
                await hash_of(client, path.name)
            if scope.cancelled_caught:
                self.unhashed.append(path.name)

    async def _judge(self, camera: str, stopped: Mapping[str, Any]) -> None:
        if stopped["session_id"] != self.sessions[camera]:
            self._complain(f"{camera}: another session was stopped")
        paths = [path for path in self._lives if _of(path) == camera]
        for found in judge_receipt(
            stopped["receipt"],
            {path.name: self._lives[path] for path in paths},
            {path.name: len(self._packets[path]) for path in paths},
            {path.name: signature(path) for path in paths},
        ):
            self._complain(f"{camera}: {found}")

    @property
    def frames(self) -> int:
        """How many frames all files hold."""
        return sum(map(len, self._packets.values()))

    @property
    def files(self) -> int:
        """How many files have frames."""
        return len(self._packets)


def _of(path: Path) -> str:
    """Which camera a file is of."""
    return path.name.partition("_")[0]


async def suffer(ordeal: Ordeal, moments: Sequence[Moment]) -> None:
    """Go through all of it."""
    await ordeal.begin()
    for moment in moments:
        await ordeal.kill(moment)
    await ordeal.end()
