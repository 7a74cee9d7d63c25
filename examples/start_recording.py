"""Record ten seconds of a camera over the WebSocket API and print the receipt.

    CAMD_TOKEN=$(cat state/admin.key) python examples/start_recording.py camera0

Needs `trio` and `trio-websocket` alone, and nothing of camd.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import trio
from trio_websocket import WebSocketConnection, open_websocket_url

URL = os.environ.get("CAMD_URL", "ws://127.0.0.1:8002/ws")
TOKEN = os.environ.get("CAMD_TOKEN", "")
SECONDS = 10


async def call(socket: WebSocketConnection, method: str, **params: object) -> Any:
    """Call one method and wait for its answer; notifications on the way are shown."""
    request = {"jsonrpc": "2.0", "id": method, "method": method, "params": params}
    await socket.send_message(json.dumps(request))
    while True:
        message = json.loads(await socket.get_message())
        if message.get("id") == method:
            break
        if message.get("method") == "recording_status_update":
            event = message["params"]
            print(f"  {event['status']:<9} {event['filename']}  {event['file_size']} bytes")
    if "error" in message:
        error = message["error"]
        sys.exit(f"{method}: {error['message']} ({error['code']}). {error['data']['suggestion']}")
    return message["result"]


async def main(camera: str) -> None:
    """Start, wait, stop."""
    async with open_websocket_url(URL) as socket:
        await call(socket, "authenticate", auth_token=TOKEN)
        started = await call(socket, "start_recording", device=camera)
        print(f"session {started['session_id']}")
        await trio.sleep(SECONDS)
        stopped = await call(socket, "stop_recording", device=camera)
    for file in stopped["receipt"]["files"]:
        print(f"{file['filename']}  {file['frames']} frames  sha256 {file['sha256']}")
    print(
        f"written {stopped['receipt']['frames_written']} of "
        f"{stopped['receipt']['frames_captured']} captured frames"
    )


if __name__ == "__main__":
    if not TOKEN:
        sys.exit("Set CAMD_TOKEN to a key: the service's own is in admin.key in its state folder.")
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "camera0")
