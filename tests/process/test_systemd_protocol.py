"""The protocols of systemd, with these tests as the service manager."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from camd import systemd

ACTIVATE = shutil.which("systemd-socket-activate") or "/usr/bin/systemd-socket-activate"


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Return a socket that takes notifications, as systemd's does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(5)
        yield receiver


LAUNCHER = """
import os, sys
script, *sources = sys.argv[1:]
for number, source in enumerate(sources):
    os.dup2(int(source), 3 + number)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = str(len(sources))
os.execv(sys.executable, [sys.executable, "-c", script])
"""


def run_activated(script: str, listeners: list[socket.socket], **environ: str) -> str:
    """Run `script` with `listeners` as descriptors 3, 4, …, and return what it prints.

    A launcher sets the variables and becomes the script, as systemd's fork does.
    """
    sources = [listener.fileno() for listener in listeners]
    done = subprocess.run(
        [sys.executable, "-c", LAUNCHER, textwrap.dedent(script), *map(str, sources)],
        env={**os.environ, **environ},
        pass_fds=sources,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return done.stdout


@pytest.fixture
def listeners() -> Iterator[list[socket.socket]]:
    """Return two listening sockets with descriptors far from 3."""
    found: list[socket.socket] = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as first:
            high = socket.socket(fileno=os.dup2(first.fileno(), 200 + len(found)))
        found.append(high)
    yield found
    for listener in found:
        listener.close()


def test_inherited_sockets_arrive_in_order_closed_on_exec_and_once(
    listeners: list[socket.socket],
) -> None:
    """This process gets its sockets; no other process, and no second call, gets any."""
    script = """
        import os
        from camd.systemd import inherited_sockets
        found = inherited_sockets(os.environ)
        print([s.getsockname()[1] for s in found])
        print([s.get_inheritable() for s in found])
        print(inherited_sockets(os.environ), [n for n in os.environ if n.startswith("LISTEN_")])
    """
    output = run_activated(script, listeners, LISTEN_FDNAMES="web:unix").splitlines()
    ports = [listener.getsockname()[1] for listener in listeners]
    assert output == [str(ports), "[False, False]", "[] []"]


def test_sockets_of_another_process_are_left_alone() -> None:
    """LISTEN_PID names somebody else: nothing is taken, and the variables go."""
    environ = {"LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "a", "HOME": "/"}
    assert systemd.inherited_sockets(environ) == []
    assert environ == {"HOME": "/"}


@pytest.mark.parametrize("count", ["", "x", "-1", "²"])
def test_a_count_that_is_no_number_means_no_sockets(count: str) -> None:
    """Invalid variables do not prevent the start."""
    assert systemd.inherited_sockets({"LISTEN_FDS": count, "LISTEN_PID": str(os.getpid())}) == []


def test_a_notification_reaches_the_manager(manager: socket.socket) -> None:
    """The datagram is the state, byte for byte."""
    assert systemd.notify("READY=1\nSTATUS=one", {"NOTIFY_SOCKET": manager.getsockname()})
    assert manager.recv(100) == b"READY=1\nSTATUS=one"


def test_a_notification_reaches_an_abstract_socket() -> None:
    """A leading @ stands for the NUL of the abstract namespace."""
    name = f"camd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + name)
        receiver.settimeout(5)
        assert systemd.notify("STOPPING=1", {"NOTIFY_SOCKET": "@" + name})
        assert receiver.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("address", ["", "/nowhere/notify", "vsock:2:3", "@", "/" + "x" * 300])
def test_a_notification_that_nobody_takes_is_no_problem(address: str) -> None:
    """Outside systemd, or with a manager that is gone, notifying does nothing."""
    assert not systemd.notify("READY=1", {"NOTIFY_SOCKET": address})


def test_a_notification_never_blocks(manager: socket.socket) -> None:
    """When the manager reads nothing, messages are lost, and camd does not wait."""
    environ = {"NOTIFY_SOCKET": manager.getsockname()}
    sent = [systemd.notify("STATUS=" + "x" * 1000, environ) for _ in range(1000)]
    assert sent[0]
    assert not sent[-1]


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_period_is_read(environ: dict[str, str], seconds: float | None) -> None:
    """Only a period that is meant for this process counts."""
    assert systemd.watchdog_seconds(environ) == seconds


@pytest.mark.skipif(not Path(ACTIVATE).exists(), reason="systemd-socket-activate is not installed")
def test_a_connection_waits_in_systemds_socket_until_the_program_accepts(tmp_path: Path) -> None:
    """With systemd-socket-activate, the connection that starts the program is served."""
    script = tmp_path / "activated.py"
    script.write_text(
        textwrap.dedent(
            """
            import os
            from camd.systemd import inherited_sockets
            (listener,) = inherited_sockets(os.environ)
            connection, _ = listener.accept()
            connection.sendall(b"served")
            connection.close()
            """
        ),
        encoding="utf-8",
    )
    address = str(tmp_path / "socket")
    command = [ACTIVATE, "-l", address, sys.executable, str(script)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as program:
        assert program.stderr is not None
        assert "Listening on" in program.stderr.readline()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(300)
            client.connect(address)
            assert client.recv(100) == b"served"
        assert program.wait(300) == 0
