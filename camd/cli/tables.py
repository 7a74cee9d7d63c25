"""Tables of the service's results; pure, from JSON values to rich's objects.

A field that is missing shows as an empty cell, so that other versions of the service work, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from rich.markup import escape
from rich.table import Table

from camd.cli import terminal

Row = Mapping[str, Any]

_COLOURS = {
    "CONNECTED": "green",
    "DISCONNECTED": "yellow",
    "ERROR": "red",
    "STARTED": "green",
    "STOPPED": "yellow",
    "GAP": "red",
    "completed": "green",
    "recording": "red",
    "interrupted": "yellow",
    "normal": "green",
    "warning": "yellow",
    "blocked": "red",
    "no_inodes": "red",
    "failing": "red",
    "missing": "red",
    "read_only": "red",
    "unresponsive": "red",
    "critical": "red",
    "healthy": "green",
    "degraded": "yellow",
    "unhealthy": "red",
}


_WHOLE = ("file", "device")  # columns of names to copy: they are never folded
_DURATIONS = ("duration", "uptime", "interval", "pending_seconds")

STILL_SEARCHING = "Recordings are still looked for in the folder: more may be found."


def file_size(size: object) -> str:
    """Format bytes: "12.3 MB"."""
    if not isinstance(size, int | float):
        return ""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.95:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def clock_time(seconds: object) -> str:
    """Format seconds: "0:05.0", "12:34", "1:02:03"."""
    if not isinstance(seconds, int | float):
        return ""
    if seconds < 60:
        return f"0:{int(seconds * 10) / 10:04.1f}"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def coloured(value: object) -> str:
    """Format a state, in its colour."""
    text = escape(_text(value))
    colour = _COLOURS.get(_text(value))
    return f"[{colour}]{text}[/]" if colour else text


def cameras(rows: Iterable[Row]) -> Table:
    """Make a table of cameras."""
    table = table_of("camera", "name", "status", "picture", "recording", ">time", ">size")
    for row in rows:
        picture = _text(row.get("resolution"))
        if row.get("fps"):
            picture += f" @ {row['fps']:g}"
        recording = ""
        if row.get("recording"):
            recording = _recording(row)
        table.add_row(
            _cell(row.get("camera_id")),
            _cell(row.get("name")),
            _camera_state(row),
            escape(picture),
            recording,
            clock_time(row.get("elapsed_time")) if recording else "",
            file_size(row.get("file_size")) if recording else "",
        )
    return table


def _recording(row: Row) -> str:
    """Name the open file; there is none while the camera delivers nothing."""
    file = escape(_text(row.get("current_file")))
    if not file or row.get("cause"):
        return "[yellow]waiting[/]"
    healthy = row.get("recording_healthy", True)
    return ("[red]●[/] " if healthy else "[yellow]not durable![/] ") + file


def remarks(row: Row) -> list[str]:
    """Format what the row of a camera has no room for: its problem, advice, warnings; markup."""
    lines = [escape(_text(row[key])) for key in ("message", "suggestion") if row.get(key)]
    lines += [f"warning: {escape(_text(warning))}" for warning in row.get("warnings") or ()]
    if lines:
        lines[0] = f"[bold]{_cell(row.get('camera_id'))}[/]: {lines[0]}"
    return lines[:1] + [f"    {line}" for line in lines[1:]]


def reasons(service: Row) -> list[str]:
    """Format why the service is not healthy, a sentence a line; markup."""
    return [f"[yellow]![/] {_cell(reason)}" for reason in service.get("reasons") or ()]


def _camera_state(row: Row) -> str:
    state = _text(row.get("state"))
    return coloured(row.get("status")) + (f" {escape(state.lower())}" if state else "")


def recordings(rows: Iterable[Row]) -> Table:
    """Make a table of recorded files."""
    table = table_of("file", "start", ">length", ">size", ">frames", "status")
    for row in rows:
        status = coloured(row.get("status")) + (" pinned" if row.get("pinned") else "")
        table.add_row(
            _cell(row.get("filename")),
            escape(terminal.format_moment(row.get("start_time") or row.get("modified_time"))),
            clock_time(row.get("duration")),
            file_size(row.get("file_size")),
            _cell(row.get("frames")),
            status,
        )
    return table


def snapshots(rows: Iterable[Row]) -> Table:
    """Make a table of snapshots."""
    table = table_of("file", "time", "camera", "picture", ">size")
    for row in rows:
        table.add_row(
            _cell(row.get("filename")),
            escape(terminal.format_moment(row.get("start_time") or row.get("modified_time"))),
            _cell(row.get("camera_id")),
            _cell(row.get("resolution")),
            file_size(row.get("file_size")),
        )
    return table


def receipt_files(files: Iterable[Row]) -> Table:
    """Make a table of the files of a receipt, with their hashes."""
    table = table_of("file", ">length", ">frames", ">bytes", "sha256 of `tail -c +49 FILE`")
    for row in files:
        table.add_row(
            _cell(row.get("filename")),
            clock_time(row.get("duration")),
            _cell(row.get("frames")),
            _cell(row.get("size", row.get("file_size"))),
            _cell(row.get("sha256")),
        )
    return table


def sessions(rows: Iterable[Row]) -> Table:
    """Make a table of sessions, with how much of each is in files."""
    figures = (">recorded", ">missing", ">coverage", ">files")
    table = table_of("session", "camera", "start", *figures, "status")
    for row in rows:
        coverage = row.get("coverage_percent")
        table.add_row(
            _cell(row.get("session_id")),
            _cell(row.get("camera_id")),
            escape(terminal.format_moment(row.get("start_time"))),
            clock_time(row.get("duration")),
            clock_time(row.get("missing_duration")),
            f"{coverage:g} %" if isinstance(coverage, int | float) else "",
            _cell(row.get("files")),
            coloured(row.get("status")),
        )
    return table


def schedules(rows: Iterable[Row]) -> Table:
    """Make a table of schedules; their times are by the clocks of their own zones."""
    table = table_of("schedule", "cameras", "days", "from", "to", "zone", "now", "changes")
    for row in rows:
        state = "[green]open[/]" if row.get("active") else "closed"
        table.add_row(
            _cell(row.get("name")),
            escape(", ".join(map(_text, row.get("cameras") or ())).replace("*", "all")),
            escape(", ".join(map(_text, row.get("days") or ()))),
            _cell(row.get("from")),
            _cell(row.get("to")),
            _cell(row.get("timezone")),
            state if row.get("enabled", True) else "off",
            escape(terminal.format_moment(row.get("next_change"))),
        )
    return table


_OVERRIDDEN = {
    "manual_recording": "somebody's own recording runs",
    "manual_stop": "somebody stopped it, until this window closes",
    "source_ended": "the file was played to its end",
}


def schedule_remarks(row: Row) -> list[str]:
    """Format what the row of a schedule has no room for: who does not record now; markup."""
    name = _cell(row.get("name"))
    lines = [
        f"[bold]{name}[/]: {_cell(camera)}: {escape(_OVERRIDDEN.get(_text(why), _text(why)))}"
        for camera, why in (row.get("overridden_by") or {}).items()
    ]
    if unknown := row.get("unknown_cameras"):
        lines.append(f"[bold]{name}[/]: there is no camera {escape(', '.join(unknown))}")
    return lines


def gaps(rows: Iterable[Row], *, cameras: bool = False) -> Table:
    """Make a table of ledger entries: missing footage and its cause; `cameras`: and whose it is."""
    whose = ["camera"] if cameras else []
    table = table_of(*whose, "missing from", ">length", ">frames", "cause", "action")
    for row in rows:
        frames = _cell(row.get("frames"))
        table.add_row(
            *([_cell(row.get("camera_id"))] if cameras else []),
            escape(
                terminal.format_moment(row.get("start_time") or row.get("from") or row.get("start"))
            ),
            clock_time(row.get("duration", row.get("duration_seconds"))),
            frames if row.get("exact", True) or not frames else f"about {frames}",
            _cell(row.get("cause")),
            _cell(row.get("action")),
        )
    return table


def timeline_lines(answer: Row, width: int) -> Iterator[str]:
    """Draw a time line as a bar of `width` characters between its ends, and sum it up.

    A part in which something is missing shows that, however short it is.
    """
    since, until = (_moment(answer[name]) for name in ("from", "to"))
    length = (until - since).total_seconds()
    bar, recorded = ["."] * max(1, width), 0.0

    def mark(begin: datetime, end: datetime, sign: str) -> float:
        first, last = max(begin, since), min(end, until)
        if first > last:
            return 0.0
        places = ((each - since).total_seconds() / length * len(bar) for each in (first, last))
        begin_at, end_at = (min(len(bar) - 1, int(place)) for place in places)
        bar[begin_at : end_at + 1] = sign * (end_at + 1 - begin_at)
        return (last - first).total_seconds()

    for span in answer["spans"]:
        recorded += mark(_moment(span["start"]), _moment(span["end"]), "#")
    for gap in answer["gaps"]:
        mark(_moment(gap["from"]), _moment(gap["to"]), "!")
    files = sum(span.get("merged", 1) for span in answer["spans"])
    yield f"{terminal.format_time(since)} to {terminal.format_time(until)}"
    yield "".join(bar)
    yield f"recorded {clock_time(recorded)} of {clock_time(length)}, in {files} files"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def timeline_gaps(rows: Iterable[Row]) -> Table:
    """Make a table of what is missing in a time line."""
    table = table_of("missing from", ">length", "cause")
    for row in rows:
        length = (_moment(row["to"]) - _moment(row["from"])).total_seconds()
        more = f" and {row['merged'] - 1} more" if row.get("merged", 1) > 1 else ""
        about = "" if row.get("exact", True) else "about "
        table.add_row(
            escape(terminal.format_moment(row["from"])),
            about + clock_time(length),
            _cell(row.get("cause")) + more,
        )
    return table


def devices(rows: Iterable[Row]) -> Table:
    """Make a table of the capture devices of a machine."""
    table = table_of("device", "name", "camera", "plugged in at", "offers", "open in")
    for row in rows:
        maybe = ", ".join(f"{camera}?" for camera in row.get("candidates", ()))
        formats = dict.fromkeys(_text(mode.get("format")) for mode in row.get("modes", ()))
        holders = [
            "camd" if one.get("camd") else f"{one.get('program')} ({one.get('pid')})"
            for one in row.get("held_by", ())
        ]
        table.add_row(
            _cell(row.get("device")),
            _cell(row.get("name")),
            _cell(row.get("camera_id") or maybe or "none"),
            _cell((row.get("usb") or {}).get("kernel_name") or row.get("bus")),
            escape(_few(formats) or _text(row.get("cause"))),
            escape(", ".join(holders)),
        )
    return table


def _few(words: Iterable[str], most: int = 5) -> str:
    """Join the first words, and say how many more there are."""
    every = list(words)
    rest = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + rest


def modes(rows: Iterable[Row]) -> Table:
    """Make a table of what a device can deliver, one format and size per row."""
    table = table_of("format", "size", "frames/s")
    for row in rows:
        limits = row.get("fps_range")
        between = [f"{limits[0]:g} to {limits[1]:g}"] if limits else []
        size = row.get("resolution") or " to ".join(row.get("resolution_range") or ())
        rates = ", ".join([f"{rate:g}" for rate in row.get("fps", ())] + between)
        table.add_row(_cell(row.get("format")), escape(_text(size)), escape(rates))
    return table


def planned(rows: Iterable[Row], what: str) -> Table:
    """Make a table of the files that a cleanup removes or keeps."""
    table = table_of(what, ">size", "because")
    for row in rows:
        table.add_row(
            _cell(row.get("filename")),
            file_size(row.get("file_size")),
            _cell(row.get("reason")),
        )
    return table


def pairs(row: Row, names: Mapping[str, str] | None = None) -> Table:
    """Make a table of an object's names and values; `names` selects, sorts and translates them."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    chosen = names or {key: key for key in row}
    for key, name in chosen.items():
        value = row.get(key)
        if value is None or value in ("", [], {}):
            continue
        table.add_row(escape(name), _value(key, value))
    return table


def latency(row: Row) -> str:
    """Format latencies: "median 12 ms, p95 30 ms, worst 1,200 ms"."""
    parts = (
        f"{name} {value * 1000:,.0f} ms"
        for name in ("latest", "median", "p95", "worst")
        if isinstance(value := row.get(name), int | float)
    )
    return ", ".join(parts)


def _value(field: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        if field.endswith(("size", "space", "bytes")) or field.startswith("space_"):
            return file_size(value)
        if field == "write_rate":
            return f"{file_size(value)}/s"
        if field in _DURATIONS or field.startswith("seconds_"):
            return clock_time(value)
        return f"{value:g} %" if "percent" in field or "threshold" in field else f"{value:,}"
    if isinstance(value, Mapping) and field == "sync_latency":
        return latency(value)
    if isinstance(value, Mapping):
        there = {name: part for name, part in value.items() if part is not None and part != ""}
        return ", ".join(f"{escape(str(name))} {_value(str(name), x)}" for name, x in there.items())
    if terminal.parse_time(value) is not None:
        return escape(terminal.format_moment(value))
    if isinstance(value, list | tuple):
        return escape(", ".join(map(_text, value)))
    return coloured(value)


def table_of(*columns: str) -> Table:
    """Make a table without lines; a leading ">" aligns a column to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        right = name.startswith(">")
        table.add_column(
            name.removeprefix(">"),
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=name in _WHOLE,
        )
    return table


def _cell(value: object) -> str:
    """Format a value; escape rich's markup in it."""
    return escape(_text(value))


def _text(value: object) -> str:
    return "" if value is None else str(value)
