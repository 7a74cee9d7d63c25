"""Events reach journald's socket as entries of fields; this test is journald."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from camd import systemd
from camd.logs import LogFormat, NonBlockingStream, choose_log_format


def test_an_event_is_one_datagram(tmp_path: Path) -> None:
    """What the log's thread writes arrives whole, also with lines in it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "socket"))
        receiver.settimeout(10)
        sender = systemd.connect_to_journald(tmp_path / "socket")
        stream = NonBlockingStream(sender.fileno(), log_format=LogFormat.JOURNAL)
        entry = systemd.journal_entry("two\nlines", 4, {"CAMD_CAMERA": "Gärten"})
        stream.write(entry.decode("latin-1"))
        assert receiver.recv(65536) == entry
        assert "CAMD_CAMERA=Gärten\n".encode() in entry
        stream.drain(10)
        sender.close()


def test_the_format_follows_what_stderr_is(tmp_path: Path) -> None:
    """journald's own stream, a file, and what the variable says."""
    with (tmp_path / "log").open("wb") as file:
        found = os.fstat(file.fileno())
        stream = f"{found.st_dev}:{found.st_ino}"
        assert choose_log_format({"JOURNAL_STREAM": stream}, file.fileno()) is LogFormat.JOURNAL
        assert choose_log_format({"JOURNAL_STREAM": "1:2"}, file.fileno()) is LogFormat.JSON
        assert choose_log_format({}, file.fileno()) is LogFormat.JSON
        chosen = {"CAMD_LOG_FORMAT": "terminal", "JOURNAL_STREAM": stream}
        assert choose_log_format(chosen, file.fileno()) is LogFormat.TERMINAL
        wrong = {"CAMD_LOG_FORMAT": "xml"}
        assert choose_log_format(wrong, file.fileno()) is LogFormat.JSON


def test_without_journald_the_log_is_json(tmp_path: Path) -> None:
    """A service whose journald is gone still says why it does not start."""
    code = "import camd.logs, sys; log = camd.logs.open_log({'CAMD_LOG_FORMAT': 'journal'}); "
    code += "print(log.log_format.value)"
    defaults = f"systemd.connect_to_journald.__defaults__ = ({tmp_path / 'no'!r},)"
    patched = f"from camd import systemd; {defaults}\n"
    done = subprocess.run(
        [sys.executable, "-c", f"from pathlib import Path, PosixPath\n{patched}{code}"],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert done.stdout.strip() == "json"
