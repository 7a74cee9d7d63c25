"""Tables, lines and failures of the command line, from values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from camd.cli import tables
from camd.cli.exit import CallRefused, Unauthenticated, misconfigured, refused
from camd.cli.record import progress_line
from camd.cli.service_access import ServiceAccess, client_address
from camd.cli.show import RepeatFilter, event_line
from camd.config.schema import ServerConfig
from camd.errors import TABLE

CAMERA = {
    "camera_id": "camera0",
    "device": "/dev/video0",
    "name": "Gate [north]",
    "status": "CONNECTED",
    "state": "STREAMING",
    "resolution": "1280x720",
    "fps": 30.0,
    "recording": True,
    "recording_healthy": True,
    "current_file": "camera0_2026-01-15_14-30-00.mp4",
    "elapsed_time": 65.2,
    "file_size": 12_345_678,
}


def shown(renderable: Any, width: int = 200) -> str:
    """Render for a terminal of some width."""
    console = Console(width=width, record=True, highlight=False, file=None, quiet=False)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (12_345_678, "12.3 MB"),
        (5 * 10**12, "5.0 TB"),
        (None, ""),
        ("5", ""),
    ],
)
def test_sizes_are_written_for_people(size: object, text: str) -> None:
    """Three or four digits and a decimal unit; "" for what is no number."""
    assert tables.file_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00.0"),
        (5.04, "0:05.0"),
        (59.99, "0:59.9"),
        (60, "1:00"),
        (3723, "1:02:03"),
        (None, ""),
    ],
)
def test_lengths_of_time_are_written_for_people(seconds: object, text: str) -> None:
    """Tenths below a minute, never rounded up into the next one."""
    assert tables.clock_time(seconds) == text


def test_a_camera_that_records_shows_its_file_time_and_size() -> None:
    """One row has everything; markup in names is escaped."""
    text = shown(tables.cameras([CAMERA]))
    for part in (
        "camera0",
        "Gate [north]",
        "CONNECTED streaming",
        "1280x720 @ 30",
        "● camera0_2026",
    ):
        assert part in text
    assert "1:05" in text
    assert "12.3 MB" in text


def test_a_recording_that_is_not_durable_is_not_shown_as_recording() -> None:
    """The row says that bytes do not reach the disk."""
    text = shown(tables.cameras([{**CAMERA, "recording_healthy": False}]))
    assert "not durable!" in text
    assert "●" not in text


def test_a_camera_that_is_away_is_waited_for_and_says_why() -> None:
    """The row says that it waits for the camera, and not that the disk fails."""
    away = {
        **CAMERA,
        "state": "ABSENT",
        "recording_healthy": False,
        "cause": "absent",
        "message": "Webcam [A1] is not plugged in",
        "suggestion": "Plug the camera in.",
        "warnings": ["without sound"],
    }
    text = shown(tables.cameras([away]), width=80)
    assert "waiting" in text
    assert "durable" not in text
    assert "camera0_2026" not in text
    assert [shown(line).rstrip() for line in tables.remarks(away)] == [
        "camera0: Webcam [A1] is not plugged in",
        "    Plug the camera in.",
        "    warning: without sound",
    ]
    assert tables.remarks(CAMERA) == []


def test_a_hash_is_shown_whole_in_a_narrow_terminal() -> None:
    """A long hash is folded, not cut off."""
    row = {"filename": "a.mp4", "duration": 2.0, "frames": 60, "size": 1234, "sha256": "0f" * 32}
    lines = shown(tables.receipt_files([row]), width=80).splitlines()[1:]
    assert "0f" * 32 in "".join(line.split()[-1] for line in lines)


def test_a_file_name_is_shown_whole_in_a_narrow_terminal() -> None:
    """It can be copied; the other columns are folded."""
    row = {"filename": "camera0_2026-01-15_14-30-00.mp4", "duration": 5025, "frames": 150_750}
    row |= {"start_time": "2026-01-15T14:30:00Z", "file_size": 10**9, "status": "completed"}
    lines = shown(tables.recordings([row]), width=80).splitlines()
    assert lines[1].startswith("camera0_2026-01-15_14-30-00.mp4  2026-01-15 ")
    assert lines[2].split() == ["14:30:00"]
    hashed = shown(tables.receipt_files([{**row, "sha256": "0f" * 32}]), width=80)
    assert "camera0_2026-01-15_14-30-00.mp4 " in hashed


def test_a_gap_shows_its_cause_and_whether_its_frames_are_counted() -> None:
    """An estimate is marked "about"."""
    gap = {"from": "2026-01-15T14:30:00.123Z", "duration": 2.5, "frames": 75, "exact": False}
    text = shown(tables.gaps([{**gap, "cause": "camera_lost", "action": "new segment"}]))
    assert "2026-01-15 14:30:00" in text
    assert "about 75" in text
    assert "camera_lost" in text
    unknown = {**gap, "frames": None, "camera_id": "camera[7]"}
    assert "about" not in shown(tables.gaps([unknown]))
    assert "camera" not in shown(tables.gaps([unknown]))
    assert "camera[7]" in shown(tables.gaps([unknown], cameras=True))


def test_latency_is_in_milliseconds() -> None:
    """Values that were not measured are omitted."""
    row = {"count": 2, "latest": 0.0121, "median": None, "worst": 1.5}
    assert tables.latency(row) == "latest 12 ms, worst 1,500 ms"
    assert "latest 12 ms" in shown(tables.pairs({"sync_latency": row}))


def test_pairs_leave_out_what_is_empty_and_give_units() -> None:
    """Sizes, rates, percentages and times are recognised by the names of the fields."""
    row: dict[str, Any] = {
        "used_percent": 80.25,
        "total_space": 10**9,
        "write_rate": 1000.0,
        "duration": 61.0,
        "frames": 12345,
        "pinned": False,
        "sha256": None,
        "gaps": [],
        "components": {"storage": "running"},
    }
    lines = [" ".join(line.split()) for line in shown(tables.pairs(row)).splitlines()]
    assert lines == [
        "used_percent 80.25 %",
        "total_space 1.0 GB",
        "write_rate 1.0 kB/s",
        "duration 1:01",
        "frames 12,345",
        "pinned no",
        "components storage running",
    ]


@given(
    st.dictionaries(
        st.sampled_from(
            [*CAMERA, "filename", "sha256", "frames", "duration", "start_time", "cause"]
        ),
        st.none() | st.booleans() | st.integers() | st.text("ab[/]\n", max_size=8),
    )
)
def test_tables_take_whatever_a_service_answers(row: dict[str, Any]) -> None:
    """Missing fields and fields of another type are no error."""
    for table in (tables.recordings, tables.receipt_files, tables.gaps):
        shown(table([row]))
    shown(tables.pairs(row))


def test_progress_is_one_line_that_also_says_when_nothing_is_written() -> None:
    """Time, size, frames, file and number of gaps; a waiting session has no file."""
    status = {"elapsed_time": 5.0, "bytes_written": 2_000_000, "frames_written": 150}
    line = progress_line({**status, "current_file": "a.mp4", "gaps": []}).plain
    assert line == "●  0:05.0  2.0 MB  150 frames  a.mp4"
    line = progress_line({**status, "current_file": None, "gaps": [{}, {}]}).plain
    assert line == "●  0:05.0  2.0 MB  150 frames  waiting for the camera  2 gaps"


@pytest.mark.parametrize(
    ("method", "params", "line"),
    [
        ("camera_status_update", CAMERA, "14:30:00 UTC  camera0  [green]CONNECTED[/]  streaming"),
        (
            "camera_status_update",
            {"camera_id": "camera0", "status": "ERROR", "state": "RESTING", "message": "Busy"},
            "14:30:00 UTC  camera0  [red]ERROR[/]  resting  Busy",
        ),
        (
            "recording_status_update",
            {"camera_id": "camera0", "status": "GAP", "filename": "a.mp4", "reason": "camera_lost"},
            "14:30:00 UTC  camera0  [red]GAP[/]  a.mp4  camera_lost",
        ),
        (
            "storage_status_update",
            {"threshold_status": "blocked", "used_percent": 91.25, "message": "Storage space"},
            "14:30:00 UTC  storage  [red]blocked[/]  91.2 % used  Storage space",
        ),
        (
            "scrub_update",
            {"status": "ERROR", "filename": "a.mp4", "message": "a.mp4 is not what was recorded"},
            "14:30:00 UTC  scrub  [red]ERROR[/]  a.mp4 is not what was recorded",
        ),
        (
            "recovery_update",
            {"status": "PROGRESS", "files": 64, "total": 250, "problem": "an error"},
            "14:30:00 UTC  recovery  PROGRESS  64 of 250 files  an error",
        ),
        ("something_new", {}, "14:30:00 UTC  something_new"),
    ],
)
def test_an_event_is_one_line(method: str, params: dict[str, Any], line: str) -> None:
    """Time, camera and event; an unknown event is shown by its name."""
    assert event_line(method, {"time": "2026-01-15T14:30:00.5Z", **params}) == line


def test_a_camera_is_shown_again_only_when_its_line_differs() -> None:
    """Changes of sizes and rates are not shown; other events all are."""
    unseen, method = RepeatFilter(), "camera_status_update"
    assert unseen.accepts(method, CAMERA)
    assert not unseen.accepts(method, {**CAMERA, "file_size": 99})
    assert unseen.accepts(method, {**CAMERA, "camera_id": "camera1"})
    assert unseen.accepts(method, {**CAMERA, "message": "The camera went away"})
    assert unseen.accepts(method, CAMERA)
    assert all(
        unseen.accepts("recording_status_update", {"camera_id": "camera0"}) for _ in range(2)
    )


@pytest.mark.parametrize("kind", TABLE, ids=lambda kind: kind.name)
def test_every_error_of_the_service_has_an_exit_code(kind: Any) -> None:
    """ "Not authenticated" has another exit code than all other refusals."""
    failure = refused(kind.code, kind.message, {"suggestion": kind.suggestion})
    expected = Unauthenticated if kind.name == "not_authenticated" else CallRefused
    assert type(failure) is expected
    assert failure.message == f"{kind.message} ({kind.code})\n  {kind.suggestion}"


def test_a_refusal_has_details_reason_and_suggestion() -> None:
    """Errors, reason and suggestion of the answer are in the message."""
    data = {
        "errors": [{"path": "duration", "message": "must be at least 1"}, "odd"],
        "cause": "busy",
        "suggestion": "Close the other program.",
    }
    assert refused(-32602, "Invalid params", data).message.splitlines() == [
        "Invalid params (-32602)",
        "  duration: must be at least 1",
        "  odd",
        "  reason: busy",
        "  Close the other program.",
    ]
    assert refused(-1, "No", None).message == "No (-1)"
    one = {"errors": [{"path": "value", "message": "must be at least 1"}]}
    said = "Invalid params: value must be at least 1"
    assert refused(-32602, said, one).message == f"{said} (-32602)"  # once is enough
    data = {"reason": "missing", "suggestion": "Call authenticate."}  # a person cannot
    assert refused(-32001, "Who?", data, "try sudo").message == "Who? (-32001): try sudo"


def test_a_refusal_names_the_nearest_instants() -> None:
    """Where nothing was recorded; one that is unknown is left out."""
    data = {"nearest_before": "2026-01-15T14:30:00Z", "nearest_after": None}
    message = refused(-1005, "Nothing", data).message
    assert "  recorded until: 2026-01-15 " in message
    assert "again" not in message
    data = {"frame_before": "2026-01-15T14:30:00Z", "frame_after": "2026-01-15T14:30:03Z"}
    message = refused(-1005, "No frame", data).message
    assert "  the frame before: 2026-01-15 " in message
    assert "  the next frame: 2026-01-15 " in message


def test_a_wrong_configuration_is_listed_and_has_systemds_code() -> None:
    """All mistakes, one a line."""
    failure = misconfigured(("a: wrong", "b: wrong"))
    assert failure.exit_code == 78
    assert failure.message == "the configuration has 2 mistakes:\n  a: wrong\n  b: wrong"


@pytest.mark.parametrize(
    ("server", "address"),
    [
        (ServerConfig(), "ws://127.0.0.1:8002/ws"),
        (ServerConfig(listen=("0.0.0.0:80", "unix:/s")), "ws://127.0.0.1:80/ws"),
        (ServerConfig(listen=("[::]:80",), path="/api"), "ws://[::1]:80/api"),
        (ServerConfig(listen=("unix:/run/camd.sock",)), "unix:/run/camd.sock"),
    ],
)
def test_clients_connect_to_the_first_address_that_is_listened_on(
    server: ServerConfig, address: str
) -> None:
    """The address of all interfaces becomes that of this machine."""
    assert client_address(server) == address


def test_a_token_does_not_show() -> None:
    """The token is not in `repr`."""
    assert "hunter2" not in repr(ServiceAccess("ws://a", "hunter2"))
