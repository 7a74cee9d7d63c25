"""The checks of tests/hardware/power_cuts.py can fail: each broken promise is complained about."""

from __future__ import annotations

import json

import attrs
import pytest
from power_cut_checks import After, Footage, Gap, Limits, Status, judge, read_after, seams
from power_cut_console import MARK, Before, Promised, Receipt, understand

LIMITS = Limits(durability=1.0, fragment=0.5, fragment_frames=5, slowness=3.0)
OLD, NEW = "boot-1", "boot-2"
FILE_A = Footage(
    *("a.mp4", 1000, "sha-a", True, "", "camera0", "session", 0, OLD, 80), start=100.0, end=108.0
)
FILE_B = Footage(
    *("b.mp4", 600, "sha-b", True, "", "camera0", "session", 1, OLD, 40), start=108.0, end=112.0
)
HOLLOW = Footage("c.mp4", 0, "sha-of-nothing", sealed=False, complaint="too short")

BEFORE = Before(
    boot=OLD,
    cut_at=113.0,
    running={"camera0": "session"},
    durable={"session": 115},
    sealed={"a.mp4": Promised("a.mp4", 1000, "sha-a", 80)},
)
AFTER = After(
    boot=NEW,
    folder={"a.mp4": 1000, "b.mp4": 600, "d.mp4": 0},
    files={"a.mp4": FILE_A, "b.mp4": FILE_B},
    listed={"a.mp4": ("completed", 1000, 80), "b.mp4": ("completed", 600, 40)},
    gaps=(Gap("session", 112.0, 140.0, "daemon_down"),),
    status={
        "camera0": Status(
            "session", "RECORDING", 130, 125, 0, {"a.mp4": 80, "b.mp4": 40, "d.mp4": 5}
        )
    },
)


def _complaints(before: Before = BEFORE, after: After = AFTER) -> list[str]:
    return list(judge(before, after, LIMITS).complaints)


def _with_file(footage: Footage) -> After:
    return attrs.evolve(AFTER, files=AFTER.files | {footage.filename: footage})


def _with_status(**changes: object) -> After:
    return attrs.evolve(AFTER, status={"camera0": attrs.evolve(AFTER.status["camera0"], **changes)})


def test_a_cut_that_kept_every_promise_has_no_complaint() -> None:
    """What is as it should be is not complained about, and the loss is measured to the cut."""
    verdict = judge(BEFORE, AFTER, LIMITS)
    assert verdict.complaints == ()
    assert verdict.losses == {"camera0": 1.0}


@pytest.mark.parametrize(
    ("ages", "ahead"), [((-0.2, 0.4), 0.2), ((0.3, 0.1), -0.1), ((60.4, 60.0), -60.0)]
)
def test_the_clock_of_a_source_is_set_by_its_freshest_footage(
    ages: tuple[float, float], ahead: float
) -> None:
    """Neither a late date on the first frame nor a source that runs late changes the loss."""
    lines = [
        _line("life", 1.0, boot=OLD),
        _status(5.0, 10, durable=True, age=-9.0),  # too long ago to count
        *(_status(20.0 + n, 10, durable=True, age=age) for n, age in enumerate(ages)),
    ]
    before = understand(lines)
    assert before.ahead == {"camera0": pytest.approx(ahead)}
    assert before.longest_lag == pytest.approx(max(ages) - min(ages))
    late = attrs.evolve(BEFORE, ahead=before.ahead)
    assert judge(late, AFTER, LIMITS).losses == {"camera0": pytest.approx(1.0 + ahead)}


def test_frames_of_a_later_life_make_up_for_none_that_were_durable() -> None:
    """Where two cuts are judged together, the second life's files are not the first one's."""
    between = attrs.evolve(FILE_B, boot="boot-between")
    complaints = judge(BEFORE, _with_file(between), LIMITS, frozenset({"boot-between"})).complaints
    assert "I2 session: 115 frames were durable, 80 are left" in complaints


def test_how_long_lost_frames_had_been_written_is_told_however_late_the_source_runs() -> None:
    """From when frames were first called written that are gone, up to the cut; 0 if none are."""
    written = {"session": [(110.0, 118), (112.2, 120), (112.4, 121), (112.8, 125)]}
    before = attrs.evolve(BEFORE, written=written)
    assert judge(before, AFTER, LIMITS).unsynced == {"camera0": pytest.approx(0.6)}
    assert judge(BEFORE, AFTER, LIMITS).unsynced == {"camera0": 0.0}
    late = attrs.evolve(before, cut_at=119.0, longest_sync=4.0)
    assert judge(late, AFTER, LIMITS).complaints == (
        "I2 camera0 lost 7.00 s, bound 4.70 s; the machine took 4.00 s;"
        " what is lost was written in the last 6.60 s",
    )


def test_files_of_one_life_that_do_not_join_are_remarked_upon() -> None:
    """A hole in time within one life shows, unless the ledger has it."""
    late = _with_file(attrs.evolve(FILE_B, start=109.0))
    assert list(seams(AFTER)) == []
    assert list(seams(late)) == ["b.mp4 begins 1.00 s after the file before it"]
    entry = Gap("session", 108.0, 109.0, "camera_stalled")
    assert list(seams(attrs.evolve(late, gaps=(*AFTER.gaps, entry)))) == []


BROKEN = {
    "more footage lost than the bound": (
        attrs.evolve(BEFORE, cut_at=113.8),
        AFTER,
        "I2 camera0 lost 1.80 s",
    ),
    "durable frames missing": (
        attrs.evolve(BEFORE, durable={"session": 121}),
        AFTER,
        "I2 session: 121 frames were durable, 120 are left",
    ),
    "a sealed file gone": (
        attrs.evolve(BEFORE, sealed={"x.mp4": Promised("x.mp4", 1, "", 1)}),
        AFTER,
        "I8 x.mp4 was sealed and is gone",
    ),
    "a sealed file with other bytes": (
        BEFORE,
        _with_file(attrs.evolve(FILE_A, sha256="other")),
        "I8 a.mp4 was sealed and has other bytes",
    ),
    "a sealed file with fewer frames": (
        attrs.evolve(BEFORE, sealed={"a.mp4": Promised("a.mp4", 1000, "sha-a", 81)}),
        AFTER,
        "I8 a.mp4 has 80 frames",
    ),
    "a file deleted": (
        BEFORE,
        attrs.evolve(AFTER, folder={"a.mp4": 1000}),
        "I5 b.mp4 is gone",
    ),
    "an old file changed": (
        BEFORE,
        attrs.evolve(AFTER, folder=AFTER.folder | {"a.mp4": 999}),
        "I5 a.mp4 has changed its size",
    ),
    "a file that does not play": (
        BEFORE,
        _with_file(attrs.evolve(FILE_B, complaint="Invalid data")),
        "I1 b.mp4 does not play: Invalid data",
    ),
    "a file that was not sealed": (
        BEFORE,
        _with_file(attrs.evolve(FILE_B, sealed=False)),
        "I1 b.mp4 is not sealed",
    ),
    "a file listed as another one": (
        BEFORE,
        attrs.evolve(AFTER, listed=AFTER.listed | {"b.mp4": ("interrupted", 600, 40)}),
        "I6 b.mp4 is listed as ('interrupted', 600, 40)",
    ),
    "a session forgotten": (
        BEFORE,
        attrs.evolve(AFTER, status={}, gaps=()),
        "I4 camera0: session session does not go on",
    ),
    "a session under another id": (
        BEFORE,
        _with_status(session="other"),
        "I4 camera0: session session does not go on",
    ),
    "a session that only waits": (
        BEFORE,
        _with_status(state="WAITING"),
        "I7 camera0: session session is WAITING",
    ),
    "frames unaccounted for": (
        BEFORE,
        _with_status(captured=140),
        "I4 camera0: 15 frames are neither written nor ledgered",
    ),
    "written frames that are in no file": (
        BEFORE,
        _with_status(written=126),
        "I4 camera0: written 126, in files 125",
    ),
    "a file that its session does not know": (
        BEFORE,
        _with_status(files={"a.mp4": 80, "d.mp4": 45}),
        "I4 b.mp4 is not among its session's files",
    ),
    "an outage that is not in the ledger": (
        BEFORE,
        attrs.evolve(AFTER, gaps=()),
        "I4 session: after b.mp4: ledgered nothing",
    ),
    "an outage that is in the ledger twice": (
        BEFORE,
        attrs.evolve(AFTER, gaps=AFTER.gaps * 2),
        "I4 session: after b.mp4: ledgered 0.00..28.00, 0.00..28.00",
    ),
    "a file between two others gone": (
        attrs.evolve(BEFORE, sealed={}),
        _with_file(attrs.evolve(FILE_B, number=2)),
        "I3 session: file 2 follows 0",
    ),
    "an outage that never was": (
        BEFORE,
        attrs.evolve(AFTER, gaps=(*AFTER.gaps, Gap("session", 90.0, 95.0, "daemon_down"))),
        "I4 session: 1 entries daemon_down where there is no hole",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_is_complained_about(name: str) -> None:
    """Every check sees what it is for."""
    before, after, expected = BROKEN[name]
    assert any(c.startswith(expected) for c in _complaints(before, after)), _complaints(
        before, after
    )


def test_the_entry_of_an_outage_is_as_long_as_the_hole() -> None:
    """An entry that does not span from the last old frame to the first new one is none."""
    new = attrs.evolve(FILE_B, filename="d.mp4", number=2, boot=NEW, start=140.0, end=148.0)
    after = attrs.evolve(
        _with_file(new),
        folder=AFTER.folder | {"d.mp4": 600},
        listed=AFTER.listed | {"d.mp4": ("completed", 600, 40)},
    )
    after = attrs.evolve(
        after,
        status={
            "camera0": attrs.evolve(
                AFTER.status["camera0"],
                captured=160,
                written=160,
                files={"a.mp4": 80, "b.mp4": 40, "d.mp4": 40},
            )
        },
    )
    assert _complaints(after=after) == []
    short = attrs.evolve(after, gaps=(Gap("session", 112.0, 139.0, "daemon_down"),))
    assert _complaints(after=short) == ["I4 session: b.mp4 to d.mp4: ledgered 0.00..27.00"]
    twice = (
        Gap("session", 112.0, 125.0, "daemon_down"),
        Gap("session", 125.0, 140.0, "daemon_down"),
    )
    assert _complaints(after=attrs.evolve(after, gaps=twice)) == []
    overlap = (*twice[:1], Gap("session", 112.0, 140.0, "daemon_down"))
    assert _complaints(after=attrs.evolve(after, gaps=overlap)) == [
        "I4 session: b.mp4 to d.mp4: ledgered 0.00..13.00, 0.00..28.00"
    ]


def test_a_file_without_footage_is_no_footage_that_was_lost() -> None:
    """A file that never got a frame to the disk was promised to nobody, and need not play."""
    after = _with_file(HOLLOW)
    after = attrs.evolve(after, folder=AFTER.folder | {"c.mp4": 0})
    assert HOLLOW.hollow
    assert _complaints(after=after) == []
    promised = attrs.evolve(BEFORE, sealed={"c.mp4": Promised("c.mp4", 9, "sha-c", 1)})
    assert _complaints(promised, after)[0].startswith("I8 c.mp4")


def test_a_stopped_session_has_a_true_receipt_and_stays_stopped() -> None:
    """Receipts are held against the files, in themselves, and against what runs."""
    promised = tuple(Promised(f.filename, f.size, f.sha256, f.frames) for f in (FILE_A, FILE_B))
    receipt = Receipt("session", promised, captured=120, written=120, lost=0, durable=True)
    before = attrs.evolve(BEFORE, running={}, receipts={"session": receipt})
    stopped = attrs.evolve(AFTER, status={}, gaps=())
    assert _complaints(before, stopped) == []
    (first, *_) = _complaints(before, AFTER)
    assert first == "I8 camera0: session session goes on although it was stopped"
    for changes, expected in (
        ({"captured": 121}, "I4 session: captured 121 is not written 120 and ledgered 0"),
        ({"captured": 119, "written": 119}, "I4 session: its files have not the 119 written"),
        ({"durable": False}, "I8 session: its receipt says that it is not durable"),
        ({"files": promised[:1], "written": 80, "captured": 80}, "I4 b.mp4 is not in its"),
    ):
        before.receipts["session"] = attrs.evolve(receipt, **changes)
        (complaint,) = _complaints(before, stopped)
        assert complaint.startswith(expected)


# --- what the console said ----------------------------------------------------------------


def _line(kind: str, moment: float, **facts: object) -> str:
    return MARK + json.dumps({"k": kind, "t": moment, **facts})


def _status(
    moment: float, frames: int, *, durable: bool, session: str = "s1", age: float = 0.4
) -> str:
    facts = {"c": "camera0", "id": session, "s": "RECORDING", "d": durable, "n": frames}
    return _line("status", moment, **facts, f="a.mp4", e=moment - age)


def test_promises_are_read_from_the_last_life_on_the_console() -> None:
    """Durable frames, sealed files, the longest sync and the last sign of life; nothing older."""
    before = understand(
        [
            _line("life", 1.0, boot="older"),
            _status(2.0, 999, durable=True, session="older"),
            _line("life", 50.0, boot=OLD),
            "[  1.2] a message of the kernel",
            _status(60.0, 10, durable=True),
            _line("sync", 60.5, ms=250),
            _line("sealed", 61.0, c="camera0", id="s1", f="a.mp4", size=5, sha="x", n=80),
            _line("created", 61.5, f="b.mp4"),
            _status(62.0, 30, durable=True),
            _status(63.0, 40, durable=False, age=0.6),
            _line("beat", 63.05, p=900),
            _line("beat", 63.1) + "garbage",
            _line("beat", 63.15)[:20],
        ]
    )
    assert before.boot == OLD
    assert before.cut_at == 63.05
    assert before.running == {"camera0": "s1"}
    assert before.durable == {"s1": 30}
    assert before.written == {"s1": [(60.0, 10), (62.0, 30), (63.0, 40)]}
    assert before.sealed == {"a.mp4": Promised("a.mp4", 5, "x", 80)}
    assert (before.longest_sync, before.longest_lag) == (0.9, pytest.approx(0.2))
    assert before.last_trigger == ("created", 61.5)
    assert before.unreadable == 2


def test_a_session_that_was_being_stopped_or_started_may_go_either_way() -> None:
    """Only what was answered is a promise."""
    life = _line("life", 1.0, boot=OLD)
    stopping = _line("stopping", 3.0, c="camera0", id="s1")
    files = [{"f": "a.mp4", "size": 5, "sha": "x", "n": 80}]
    counts = {"captured": 80, "written": 80, "lost": 0, "durable": True}
    receipt = _line("receipt", 4.0, c="camera0", id="s1", files=files, **counts)
    late = _status(4.5, 80, durable=True)
    starting = _line("starting", 5.0, c="camera0")
    started = _line("started", 6.0, c="camera0", id="s2")
    lines = [life, _status(2.0, 70, durable=True), stopping]

    before = understand(lines)
    assert (before.running, before.undecided) == ({}, {"camera0"})
    before = understand([*lines, receipt, late])
    assert (before.running, before.undecided) == ({}, set())
    assert before.receipts["s1"].files == (Promised("a.mp4", 5, "x", 80),)
    assert before.sealed["a.mp4"].sha256 == "x"
    before = understand([*lines, receipt, late, starting])
    assert (before.running, before.undecided) == ({}, {"camera0"})
    before = understand([*lines, receipt, late, starting, started])
    assert (before.running, before.undecided) == ({"camera0": "s2"}, set())


def test_what_the_guest_sees_is_read_whole() -> None:
    """Times become seconds, and only frames that the ledger has exactly count as lost."""
    gap = {"session_id": "s", "from": "1970-01-01T00:01:00Z", "to": "1970-01-01T00:02:00Z"}
    exact = gap | {"cause": "storage_slow", "frames": 7, "exact": True}
    estimated = gap | {"cause": "daemon_down", "frames": 9, "exact": False}
    status = {"session_id": "s", "status": "RECORDING", "frames_captured": 27}
    files = [{"filename": "a.mp4", "frames": 20, "status": "recording", "file_size": 8}]
    answer = {
        "boot": NEW,
        "folder": {"a.mp4": 8},
        "files": files,
        "gaps": [exact, estimated],
        "status": {
            "camera0": status | {"frames_written": 20, "gaps": [exact, estimated], "files": files},
            "camera1": None,
        },
    }
    after = read_after(answer, {}, {"a.mp4": 3})
    assert after.status == {"camera0": Status("s", "RECORDING", 27, 20, 7, {"a.mp4": 20})}
    assert after.gaps == (
        Gap("s", 60.0, 120.0, "storage_slow"),
        Gap("s", 60.0, 120.0, "daemon_down"),
    )
    assert after.listed == {"a.mp4": ("recording", 8, 20)}


def test_promises_outlive_a_life_that_said_nothing() -> None:
    """What a life cut short by the next power cut did not speak of is still promised."""
    receipt = Receipt("s3", (), captured=0, written=0, lost=0, durable=True)
    earlier = Before(
        boot=OLD,
        running={"camera0": "s0", "camera1": "s1", "camera2": "s2", "camera3": "s3"},
        durable={"s0": 50, "s1": 9},
        sealed={"a.mp4": Promised("a.mp4", 1000, "sha-a", 80)},
    )
    later = Before(
        boot=NEW,
        running={"camera1": "s4"},
        undecided={"camera2"},
        durable={"s0": 40},
        receipts={"s3": receipt},
    )
    later.follow(earlier)
    assert later.running == {"camera0": "s0", "camera1": "s4"}
    assert later.durable == {"s0": 50, "s1": 9}
    assert later.sealed == earlier.sealed
    assert later.receipts == {"s3": receipt}
