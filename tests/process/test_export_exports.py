"""Exports over a real folder: leases, what is not there, not durable, not camd's, or hangs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import attrs
import pytest
import trio
from export_cuts import NOON, RATE, Footage, record, shown
from support import ffmpeg_media as ffmpeg
from support.fake_disk import roomy_disk

from camd.clock import SYSTEM_CLOCK
from camd.config.schema import StorageConfig
from camd.errors import Refusal
from camd.export.exports import MOST_TRANSFERS, Export, ExportLimits, Exports
from camd.export.kept_exports import KEPT_EXPORTS, KEPT_SECONDS, ExportKey, KeptExport, KeptExports
from camd.export.rules.export_plan import ExportRange, later_by
from camd.export.source_files import SourceVanishedError
from camd.model import CameraId, Segment
from camd.mp4.movies.cut_movie import ByteSpan
from camd.runtime.broadcast import Fanout
from camd.storage.storage import Storage, open_storage

BUNDLED = str(ffmpeg.PROGRAMS[1].values[0])
QUICK = ExportLimits(read_seconds=300.0, sync_seconds=0.02, sync_tries=500)


@attrs.frozen
class Archived:
    """A storage with three files of two seconds, and exports from it."""

    storage: Storage
    exports: Exports
    footage: Footage

    @property
    def files(self) -> tuple[Segment, ...]:
        """The files."""
        return self.footage.segments

    async def refusal(self, wanted: ExportRange) -> Refusal:
        """Return why an export is refused."""
        with pytest.raises(Refusal) as refused:
            await self.exports.describe(wanted)
        assert self.storage.leased_files == frozenset()
        return refused.value

    async def taken(self, wanted: ExportRange) -> bytes:
        """Return the bytes of an export's first part."""
        received: list[bytes] = []

        async def keep(data: bytes) -> None:
            received.append(data)

        async with self.exports.opened(wanted, 1) as export:
            part = export.parts[0]
            await self.exports.send(part, ByteSpan(0, part.size_bytes), keep)
        return b"".join(received)


@asynccontextmanager
async def set_up(
    folder: Path, stream: bytes = b"", *, growing: bool = False, limits: ExportLimits = QUICK
) -> AsyncIterator[Archived]:
    """Run a storage with the files."""
    stream = stream or ffmpeg.encode(BUNDLED, "h264-aac")
    (folder.parent / "stream.mp4").write_bytes(stream)
    config = StorageConfig(folder, state_dir=folder.parent / ".state")
    with trio.fail_after(300):
        async with open_storage(config, Fanout(), roomy_disk(), clock=SYSTEM_CLOCK) as storage:
            await storage.unfinished_sessions()
            segments = record(folder, stream, growing=growing)
            for segment in segments:
                await storage.note_segment(segment)
            frames = shown(BUNDLED, folder.parent / "stream.mp4")
            yield Archived(
                storage,
                Exports(storage, clock=SYSTEM_CLOCK, limits=limits),
                Footage(folder, tuple(segments), frames),
            )


def seconds(begin: float, end: float) -> ExportRange:
    """Return a range in seconds after noon."""
    instants = (later_by(NOON, Fraction(each).limit_denominator(1000)) for each in (begin, end))
    return ExportRange(CameraId("camera0"), *instants)


async def test_files_are_leased_until_all_is_sent(tmp_path: Path) -> None:
    """While an export is open its files cannot be removed; no others, and no longer."""
    async with set_up(tmp_path / "recordings") as made:
        names = {each.filename for each in made.files[:2]}
        async with made.exports.opened(seconds(0.5, 3.5), 1) as export:
            assert made.storage.leased_files >= names
            for name in names:
                (removal,) = await made.storage.remove([name], "a test")
                assert not removal.removed
            assert [part.frames for part in export.parts] == [90]
        assert made.storage.leased_files == frozenset()
        (removal,) = await made.storage.remove([made.files[0].filename], "a test")
        assert removal.removed


async def test_an_export_shows_its_frames(tmp_path: Path) -> None:
    """Described and sent alike: times of the first frame and of the last one's end."""
    async with set_up(tmp_path / "recordings") as made:
        export = await made.exports.describe(seconds(0.49, 5.51))
        (part,) = export.parts
        assert (part.head, part.frames, part.lead_in) == (b"", 151, 15)
        assert part.start == later_by(NOON, Fraction(15, RATE))
        assert part.end == later_by(NOON, Fraction(166, RATE))
        assert export.gaps == ()
        data = await made.taken(seconds(0.49, 5.51))
        path = tmp_path / "cut.mp4"
        path.write_bytes(data)
        assert shown(BUNDLED, path) == made.footage.frames[15:166]
        assert (len(data), await made.taken(seconds(0.49, 5.51)) == data) == (part.size_bytes, True)


async def test_a_picture_that_is_shown_when_the_range_begins_is_no_gap(tmp_path: Path) -> None:
    """With a picture every two seconds nothing is missing between the beginning and the first one,
    in a file and where the next one begins; before the recording and behind it there is."""
    stream = ffmpeg.run(
        *(BUNDLED, "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=1/2", "-t", "12"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-g", "2", "-bf", "0"),
        *("-movflags", "frag_keyframe+empty_moov+default_base_moof", "-f", "mp4", "pipe:1"),
    ).stdout
    async with set_up(tmp_path / "recordings", stream) as made:
        assert len(made.files) == 3
        for begin, end, frames, gaps in (
            (5, 7, 1, []),
            (3, 7, 2, []),
            (3, 11, 4, []),
            (-1, 7, 4, [(-1, 0)]),
            (5, 14, 3, [(12, 14)]),
        ):
            export = await made.exports.describe(seconds(begin, end))
            assert [part.frames for part in export.parts] == [frames]
            found = [
                tuple((at - NOON).total_seconds() for at in (gap.start, gap.end))
                for gap in export.gaps
            ]
            assert found == gaps


async def test_a_file_that_goes_between_two_pieces_ends_the_transfer(tmp_path: Path) -> None:
    """What was sent until then is right, and nothing follows: not for a file that is gone, nor
    for one that another took the place of, nor for one that became shorter."""
    async with set_up(tmp_path / "recordings") as made:
        wanted = seconds(0, 6)
        whole = await made.taken(wanted)
        last = made.footage.folder / made.files[-1].filename
        content = last.read_bytes()

        def replace() -> None:
            last.rename(last.with_suffix(".old"))
            last.write_bytes(content)

        for harm in (last.unlink, replace, lambda: os.truncate(last, 3000)):
            received: list[bytes] = []

            async def keep(data: bytes, received: list[bytes] = received) -> None:
                received.append(data)
                if len(received) == 2:  # the head, and the first file
                    harm()  # noqa: B023

            async with made.exports.opened(wanted, 1) as export:
                part = export.parts[0]
                with pytest.raises(SourceVanishedError):
                    await made.exports.send(part, ByteSpan(0, part.size_bytes), keep)
            sizes = [part.head_size, *(source.span.size for source in part.sources)]
            assert [len(data) for data in received] == sizes[:-1]
            assert whole.startswith(b"".join(received))
            last.unlink(missing_ok=True)
            last.write_bytes(content)


async def test_a_download_that_is_resumed_takes_the_export_of_before(tmp_path: Path) -> None:
    """Prepared once, for a description as well, with the same bytes; not for another range, and
    its files are leased each time."""
    async with set_up(tmp_path / "recordings") as made:
        wanted = seconds(0.5, 5.5)
        described = await made.exports.describe(wanted)
        async with made.exports.opened(wanted, 1) as first:
            pass
        assert [part.etag for part in first.parts] == [part.etag for part in described.parts]
        async with made.exports.opened(wanted, 1) as again:
            assert again is first
            assert made.storage.leased_files >= {each.filename for each in made.files}
        assert made.storage.leased_files == frozenset()
        async with made.exports.opened(seconds(0.5, 5.4), 1) as other:
            assert other.parts[0].frames != first.parts[0].frames


async def test_an_export_is_prepared_anew_when_a_file_is_another_or_gone(tmp_path: Path) -> None:
    """Also where the index does not know that yet: right bytes, and what is missing is listed."""
    async with set_up(tmp_path / "recordings") as made:
        wanted = seconds(0, 6)
        async with made.exports.opened(wanted, 1) as first:
            pass
        last = made.footage.folder / made.files[-1].filename
        content = last.read_bytes()
        last.rename(last.with_suffix(".old"))
        last.write_bytes(content)
        async with made.exports.opened(wanted, 1) as anew:
            assert anew is not first
        assert len(await made.taken(wanted)) == first.parts[0].size_bytes
        last.unlink()
        async with made.exports.opened(wanted, 1) as shorter:
            assert len(shorter.parts[0].sources) == 2
            assert len(shorter.gaps) == 1


async def test_an_export_that_grows_is_not_kept(tmp_path: Path) -> None:
    """The next one may have more frames."""
    async with set_up(tmp_path / "recordings", growing=True) as made:
        async with made.exports.opened(seconds(0, 5), 1) as first:
            pass
        async with made.exports.opened(seconds(0, 5), 1) as again:
            assert again is not first


async def test_heads_of_a_bounded_size_are_kept(tmp_path: Path) -> None:
    """The export used longest ago is forgotten, and one that is too large is not kept."""
    ranges = [seconds(0, 2), seconds(0, 3), seconds(0, 4), seconds(0, 5)]
    keys = [ExportKey(each, 1, (), ()) for each in ranges]
    kept: KeptExports[str] = KeptExports(most_bytes=100)
    for key, name, size in zip(keys, "abc", (40, 50, 10), strict=False):
        kept.keep(key, KeptExport(name, size, ()), 0.0)
    assert kept.find(keys[0], 0.0) is not None
    kept.keep(keys[3], KeptExport("d", 30, ()), 0.0)
    assert [kept.find(key, 0.0) is not None for key in keys] == [True, False, True, True]
    kept.keep(keys[3], KeptExport("e", 101, ()), 0.0)
    assert kept.find(keys[3], 0.0) is None
    assert kept.head_bytes == 50
    for number in range(KEPT_EXPORTS + 1):
        kept.keep(ExportKey(seconds(0, 1 + number / 10), 1, (), ()), KeptExport("f", 1, ()), 0.0)
    assert kept.head_bytes == KEPT_EXPORTS


def test_a_prepared_export_that_nobody_takes_is_forgotten() -> None:
    """Its memory is free again KEPT_SECONDS after it was taken last."""
    kept: KeptExports[str] = KeptExports()
    keys = [ExportKey(seconds(0, each), 1, (), ()) for each in (2, 3)]
    for key in keys:
        kept.keep(key, KeptExport("a", 10, ()), 100.0)
    assert kept.find(keys[0], 200.0) is not None
    kept.forget_old(99.9 + KEPT_SECONDS)
    assert kept.head_bytes == 20
    kept.forget_old(100.0 + KEPT_SECONDS)
    assert kept.head_bytes == 10
    kept.forget_old(200.0 + KEPT_SECONDS)
    assert kept.head_bytes == 0


async def test_what_is_no_mp4_of_camd_is_refused(tmp_path: Path) -> None:
    """An MKV and a file of another program are named, with their times; so is a damaged one."""
    async with set_up(tmp_path / "recordings") as made:
        folder = made.footage.folder
        mkv = attrs.evolve(
            made.files[0],
            filename="camera0_2026-01-15_12-10-00.mkv",
            start=NOON + timedelta(minutes=10),
            end=NOON + timedelta(minutes=11),
        )
        foreign = attrs.evolve(
            mkv,
            filename="holiday.mp4",
            start=NOON + timedelta(minutes=20),
            end=NOON + timedelta(minutes=21),
        )
        await made.storage.note_segment(mkv)
        await made.storage.note_segment(foreign)
        (folder / mkv.filename).write_bytes(b"\x1a\x45\xdf\xa3")
        ffmpeg.run(
            *(BUNDLED, "-f", "lavfi", "-i", "testsrc2=duration=1"),
            *("-movflags", "faststart", str(folder / foreign.filename)),
        )
        for file, minute in ((mkv, 10), (foreign, 20)):
            refusal = await made.refusal(seconds(60 * minute, 60 * minute + 30))
            assert refusal.kind.code == -32008
            assert refusal.details["filename"] == file.filename
            assert refusal.details["start_time"] == file.start
        path = folder / made.files[1].filename
        data = bytearray(path.read_bytes())
        data[data.rindex(b"stsz") + 12 :] = b"\xff" * (len(data) - data.rindex(b"stsz") - 12)
        path.write_bytes(data)
        refusal = await made.refusal(seconds(0, 6))
        assert (refusal.kind.code, refusal.details["cause"]) == (-1003, "unreadable")
        assert refusal.details["filename"] == path.name
        assert (await made.exports.describe(seconds(0, 1.9))).parts[0].frames == 57


async def test_a_range_without_footage_names_the_nearest_instants(tmp_path: Path) -> None:
    """Before, behind, and where the only file is gone; a file that is gone is listed otherwise."""
    async with set_up(tmp_path / "recordings") as made:
        first, middle, last = made.files
        before = await made.refusal(seconds(-60, 0))
        assert before.kind.code == -1005
        assert before.details["nearest_after"] == first.start
        behind = await made.refusal(seconds(10, 20))
        assert behind.details["nearest_before"] == last.end
        (made.footage.folder / middle.filename).unlink()
        gone = await made.refusal(seconds(2.5, 3.5))
        assert (gone.kind.code, gone.details["cause"]) == (-1005, "missing")
        export = await made.exports.describe(seconds(1, 5))
        assert [part.frames for part in export.parts] == [60]
        assert [(gap.start, gap.cause) for gap in export.gaps] == [(middle.start, "missing")]


async def test_a_range_between_two_pictures_of_a_slow_camera_names_them(tmp_path: Path) -> None:
    """No frame was taken in it, which is no gap: the one that was shown is named, and the next one,
    also where that one is in the next file; in a growing file, too."""
    stream = ffmpeg.encode(BUNDLED, "h264-rare", 20)
    async with set_up(tmp_path / "recordings", stream, growing=True) as made:
        assert [each.frames for each in made.files] == [2, 2, 2]
        times = [later_by(NOON, Fraction(10 * number, 3)) for number in range(6)]
        for number in range(5):
            begin = 10 * number / 3
            refusal = await made.refusal(seconds(begin + 0.1, begin + 3.2))
            assert (refusal.kind.code, refusal.details["cause"]) == (-1005, "no_frame")
            for name, time in (("before", times[number]), ("after", times[number + 1])):
                rounded = refusal.details[f"frame_{name}"] - time
                assert abs(rounded) <= timedelta(microseconds=1)
            one = await made.exports.describe(seconds(begin - 0.1, begin + 0.1))
            assert [part.frames for part in one.parts] == [1]
        behind = await made.refusal(seconds(30, 40))  # one may have come that is not durable
        assert behind.details["cause"] == "not_durable_yet"


async def test_the_end_that_becomes_durable_is_waited_for(tmp_path: Path) -> None:
    """Of a growing file only what is durable is read; what is synced soon is waited for."""
    async with set_up(tmp_path / "recordings", growing=True) as made:
        growing = made.files[-1]
        path = made.footage.folder / growing.filename
        some = path.read_bytes().index(b"moof", growing.size_bytes // 2) - 4
        made.storage.growing(growing, some)
        hurried = Exports(made.storage, clock=SYSTEM_CLOCK, limits=ExportLimits(sync_tries=0))
        early = await hurried.describe(seconds(4, 6))
        assert 0 < early.parts[0].frames < 60
        assert [gap.cause for gap in early.gaps] == ["not_durable_yet"]
        assert early.gaps[0].start == early.parts[0].end
        found: list[Export] = []
        async with trio.open_nursery() as nursery:

            async def describe() -> None:
                found.append(await made.exports.describe(seconds(4, 6)))

            nursery.start_soon(describe)
            made.storage.growing(growing, growing.size_bytes)
        assert [(export.parts[0].frames, export.gaps) for export in found] == [(60, ())]


async def test_a_disk_that_hangs_blocks_nobody_else(tmp_path: Path) -> None:
    """The call is refused in time; another export goes on meanwhile, and the index answers."""
    async with set_up(tmp_path / "recordings") as made:
        path = made.footage.folder / made.files[-1].filename
        path.unlink()
        hasty = Exports(
            made.storage, clock=SYSTEM_CLOCK, limits=attrs.evolve(QUICK, read_seconds=0.3)
        )
        os.mkfifo(path)  # opening it waits for a writer, as a disk that hangs would let it
        try:
            async with trio.open_nursery() as nursery:

                async def hang() -> None:
                    with pytest.raises(Refusal) as refused:
                        await hasty.describe(seconds(4.5, 6))
                    assert refused.value.kind.code == -1016

                nursery.start_soon(hang)
                assert (await made.exports.describe(seconds(0, 4))).parts[0].frames == 120
                assert await made.exports.has_recordings(CameraId("camera0"))
        finally:
            os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))


async def test_so_many_exports_are_sent_at_the_same_time(tmp_path: Path) -> None:
    """One more is refused, and told when to try again; afterwards it is not."""
    async with set_up(tmp_path / "recordings") as made:
        wanted = seconds(0, 1)
        async with AsyncExitStack() as stack:
            for _ in range(MOST_TRANSFERS):
                await stack.enter_async_context(made.exports.opened(wanted, 1))
            with pytest.raises(Refusal) as refused:
                await made.exports.describe(wanted)
            assert refused.value.kind.code == -32002
            assert refused.value.details["retry_after_ms"] == 5000
        assert (await made.exports.describe(wanted)).parts[0].frames == 30
