"""A daemon that reports every call to the file system, SQLite or a resolver on its event loop.

Run with the path of the report, then the command line. Most calls raise one of Python's audit
events; the others are wrapped. Only calls in the thread that runs trio count.
"""

from __future__ import annotations

import functools
import os
import socket
import sqlite3
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

AUDITED = (
    *("open", "sqlite3.connect", "subprocess.Popen", "os.posix_spawn", "os.fork", "os.exec"),
    *("os.listdir", "os.scandir", "os.mkdir", "os.rmdir", "os.remove", "os.rename", "os.link"),
    *("os.symlink", "os.truncate", "os.chmod", "os.chown", "os.utime", "fcntl.flock"),
    *("os.getxattr", "os.setxattr", "os.listxattr", "glob.glob", "import"),
    *("socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"),
    *("shutil.copyfile", "shutil.move", "shutil.rmtree"),
)
WRAPPED = (
    *("stat", "lstat", "readlink", "access", "statvfs", "fsync", "fdatasync", "sync"),
    *("pread", "pwrite", "preadv", "pwritev", "ftruncate", "posix_fallocate", "fstatvfs"),
    *("posix_fadvise", "sendfile", "copy_file_range"),
)
QUERIES = ("execute", "executemany", "executescript", "commit", "rollback", "close", "backup")


def on_loop() -> bool:
    """Whether this thread runs the event loop."""
    return bool(trio.lowlevel.in_trio_run())


def watch(report: int) -> None:
    """Write calls from now on to the file descriptor `report`, one per line."""
    busy = False

    def note(what: str) -> None:
        nonlocal busy
        if busy or not on_loop():
            return
        busy = True
        try:
            stack = [
                f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_stack(limit=14)[:-2]
            ]
            os.write(report, f"{what}  <- {' < '.join(reversed(stack))}\n".encode())
        finally:
            busy = False

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in AUDITED:
            note(f"{event} {arguments[:1]}")

    def wrapped(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            note(f"{name} {arguments[:1]}")
            return function(*arguments, **named)

        return call

    class Connection(sqlite3.Connection):
        """A connection that reports each use."""

    for name in QUERIES:
        setattr(Connection, name, wrapped(f"sqlite3 {name}", getattr(sqlite3.Connection, name)))
    sqlite3.connect = functools.partial(sqlite3.connect, factory=Connection)  # type: ignore[misc]
    for name in WRAPPED:
        setattr(os, name, wrapped(f"os.{name}", getattr(os, name)))
    resolve = socket.getaddrinfo

    def getaddrinfo(*arguments: Any, **named: Any) -> Any:
        flags = named.get("flags") or (arguments[5] if len(arguments) > 5 else 0)
        if not flags & socket.AI_NUMERICHOST:
            note(f"getaddrinfo {arguments[:1]}")  # numeric addresses ask no resolver
        return resolve(*arguments, **named)

    socket.getaddrinfo = getaddrinfo
    sys.addaudithook(hook)


def main() -> None:
    """Watch the calls and run the daemon."""
    report = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sys.argv[1:2] = []
    from camd.__main__ import main as run

    watch(report)
    run()


if __name__ == "__main__":
    main()
