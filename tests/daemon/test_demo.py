"""`camd demo` with the installed program, real FFmpeg and real time."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from camd.cli.setup.private_service import clean_environment, held_port


def demo(*arguments: str, **environ: str) -> subprocess.Popen[str]:
    """Start `camd demo`."""
    return subprocess.Popen(
        [sys.executable, "-m", "camd", "demo", *arguments],
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def sign_in(address: str, code: str) -> dict[str, str]:
    """Use a link as the page does."""
    body = json.dumps({"code": code}).encode()
    request = urllib.request.Request(f"{address}/session", body, {"Origin": address})
    with urllib.request.urlopen(request, timeout=300) as answer:
        found: dict[str, str] = json.load(answer)
        return found


Once = tuple[Path, subprocess.Popen[str]]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Once]:
    """Start a demo that ends by itself; it runs while other tests run."""
    folder = tmp_path_factory.mktemp("once")
    with demo("--dir", str(folder), "--once") as process:
        yield folder, process
        with suppress(ProcessLookupError):
            process.terminate()  # it ends what it has started


@pytest.mark.usefixtures("once")
def test_the_demo_leaves_a_running_service_until_it_is_told_to_end(tmp_path: Path) -> None:
    """The printed configuration leads to the service; SIGTERM ends both and removes the folder."""
    with demo(TMPDIR=str(tmp_path)) as process:
        assert process.stdout is not None
        lines = iter(process.stdout)
        config = next(m[1] for line in lines if (m := re.search("CAMD_CONFIG=(.*)", line)))
        status = subprocess.run(
            [sys.executable, "-m", "camd", "status", "--json", "--config", config],
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
        assert '"total": 2' in status.stdout
        address, code = next(
            match.groups()
            for line in lines
            if (match := re.search(r"(http://\S+)/#code=(\S+)", line))
        )
        assert sign_in(address, code)["role"] == "admin"
        process.send_signal(signal.SIGTERM)
        rest = "".join(lines)
        assert process.wait(300) == 0, rest
    assert "Stopping." in rest
    assert list(tmp_path.iterdir()) == []


def test_the_demo_records_checks_the_receipts_and_ends(once: Once) -> None:
    """With --once: exit 0, receipts whose hashes were checked, and the files stay in --dir."""
    folder, process = once
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "captured frames are in files, durable." in output
    files = list((folder / "recordings").glob("camera*.mp4"))
    assert f"All {len(files)} files are on disk with the hashes of their receipts." in output
    cameras = Counter(path.name.partition("_")[0] for path in files)
    assert cameras.keys() == {"camera0", "camera1"}
    assert min(cameras.values()) > 1  # about 6 s, a new file every 2 s
    key = (folder / "state" / "admin.key").read_text(encoding="ascii").strip()
    assert key not in output


def test_the_demo_does_not_overwrite_a_configuration(tmp_path: Path) -> None:
    """A configuration in --dir that is not the demo's stays; the exit code is 1."""
    (tmp_path / "camd.toml").write_text("# mine\n", encoding="utf-8")
    with demo("--dir", str(tmp_path), "--once") as process:
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "is not the demo's; choose another --dir" in output
    assert (tmp_path / "camd.toml").read_text(encoding="utf-8") == "# mine\n"


@pytest.mark.parametrize("name", ["CAMD_SERVER__LISTEN", "STORAGE_WARN_PERCENT", "LISTEN_FDS"])
def test_the_demo_ignores_variables_that_configure_camd(name: str) -> None:
    """The service of the demo does not get them."""
    found = clean_environment({name: "1", "HOME": "/h"})
    assert found == {"HOME": "/h", "CAMD_LOG_FORMAT": "terminal"}


def test_a_held_port_is_kept_for_the_service() -> None:
    """Another program does not get it; the service that is told the number listens there."""
    with held_port() as port:
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        with socket.create_server(("127.0.0.1", port)) as service:
            assert service.getsockname()[1] == port
