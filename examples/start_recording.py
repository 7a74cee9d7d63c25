"""Record ten seconds of a camera and print the receipt.

CAMD_TOKEN=$(cat state/admin.key) python examples/start_recording.py camera0
"""

from __future__ import annotations

import os
import sys

import trio

import camd.client

URL = os.environ.get("CAMD_URL", "ws://127.0.0.1:8002/ws")
TOKEN = os.environ.get("CAMD_TOKEN", "")
SECONDS = float(os.environ.get("SECONDS", "10"))


async def main(camera: str) -> None:
    """Start, wait, stop, and print what is on disk."""
    async with camd.client.connect(URL, TOKEN) as service:
        started = await service.start_recording(camera)
        print(f"session {started.session_id}")
        await trio.sleep(SECONDS)
        stopped = await service.stop_recording(camera)
    receipt = stopped.receipt
    for file in receipt.files:
        print(f"{file.filename}  {file.frames} frames  sha256 {file.sha256}")
    for gap in receipt.gaps:
        print(f"missing: {gap.duration} s from {gap.start}, because of {gap.cause}")
    print(f"written {receipt.frames_written} of {receipt.frames_captured} captured frames")


if __name__ == "__main__":
    if not TOKEN:
        sys.exit("Set CAMD_TOKEN to a key: the service's own is in admin.key in its state folder.")
    try:
        trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "camera0")
    except camd.client.CannotConnectError as error:
        sys.exit(str(error))
    except camd.client.RemoteError as error:
        sys.exit(f"{error.message} ({error.code}). {error.suggestion}")
