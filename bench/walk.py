"""Functions and files of camd that a `start_recording` enters, from the socket to its answer.

    PYTHONPATH=tests:tests/wire python bench/walk.py [--list]

The server, its methods, the camera's actor, hub, session and segment file are real; FFmpeg, the
disk and the client's socket are in memory. What counts, once, is each function of `camd/` that is
entered while the call is on its way, in any task; a task that goes on after an `await` does not.
`--list` names them by file.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType

import trio
import trio.testing
from memory_server import serving
from support.camera_rig import open_cameras_rig

import camd
from camd.api.recording_methods import RecordingsApi
from camd.config.schema import CameraConfig
from camd.model import CameraId, CameraState
from camd.rpc.registry import Registry
from camd.sources import SyntheticSource

PACKAGE = Path(camd.__file__).parent
CAMERA = CameraConfig(CameraId("camera0"), SyntheticSource(320, 180, 10))


@contextmanager
def entered() -> Iterator[set[CodeType]]:
    """Collect the functions that are entered while the block runs, without comprehensions."""
    found: set[CodeType] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        began = event == "call" and code.co_code[frame.f_lasti + 1] == 0  # RESUME 0, see `dis`
        if began and not code.co_name.endswith(("comp>", "<genexpr>")):
            found.add(code)

    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)


def by_file(codes: set[CodeType]) -> dict[str, list[str]]:
    """Sort the functions of camd by their files."""
    files: dict[str, list[str]] = defaultdict(list)
    for code in codes:
        path = Path(code.co_filename)
        if path.is_relative_to(PACKAGE):
            files[str(path.relative_to(PACKAGE.parent))].append(code.co_qualname)
    return {name: sorted(functions) for name, functions in sorted(files.items())}


async def walk() -> dict[str, list[str]]:
    """Start a recording of an idle camera."""
    async with open_cameras_rig(entries=(CAMERA,)) as rig:
        registry = Registry([RecordingsApi(rig.cameras, rig.storage)])
        await rig.until(CAMERA.id, CameraState.IDLE)
        async with serving(registry=registry) as server, server.peer() as peer:
            with entered() as found:
                answer = await peer.call("start_recording", device=CAMERA.id)
            assert "result" in answer, answer
    return by_file(found)


def main() -> None:
    """Count, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="name each function")
    options = parser.parse_args()
    files = trio.run(walk, clock=trio.testing.MockClock(autojump_threshold=0))
    for name, functions in files.items():
        print(f"{len(functions):4} {name}")
        if options.list:
            print("".join(f"       {function}\n" for function in functions), end="")
    print(f"{sum(map(len, files.values()))} functions in {len(files)} files")


if __name__ == "__main__":
    main()
