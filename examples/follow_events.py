"""Follow events, also over restarts of the service and of this program.

    CAMD_TOKEN=$(cat state/admin.key) python examples/follow_events.py position.txt

The number of the last event is kept in the file. The next run goes on behind it: nothing is shown
twice, and what the service did not keep is said.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import trio

import camd.client

URL = os.environ.get("CAMD_URL", "ws://127.0.0.1:8002/ws")
TOKEN = os.environ.get("CAMD_TOKEN", "")


def line(event: camd.client.ServiceEvent) -> str:
    """Describe an event."""
    match event:
        case camd.client.RecordingEvent(seq=seq, recording=r):
            return f"{seq} {r.camera_id} {r.status} {r.filename} {r.file_size} bytes"
        case camd.client.CameraEvent(seq=seq, camera=c):
            return f"{seq} {c.camera_id} {c.status} {c.message or c.state}"
        case camd.client.StorageEvent(seq=seq, storage=s):
            return f"{seq} storage {s.threshold_status} {s.used_percent} % used"
        case camd.client.EventsMissed(missed=missed):
            count = "an unknown number of" if missed is None else f"up to {missed}"
            return f"{event.seq} MISSED {count} events"
    return f"{event.seq} {event.method}"


async def keep(position: trio.Path, seq: int) -> None:
    """Replace the file as a whole, so that it is never half written."""
    new = position.with_suffix(".new")
    await new.write_text(str(seq))
    await new.replace(position)


async def main(position: trio.Path) -> None:
    """Show events until the program is stopped."""
    since = int(await position.read_text()) if await position.exists() else None
    async with (
        camd.client.connect(URL, TOKEN) as service,
        service.events(since=since) as events,
    ):
        print(f"following events behind number {events.position}", flush=True)
        async for event in events:
            print(line(event), flush=True)
            await keep(position, event.seq)


if __name__ == "__main__":
    if not TOKEN or len(sys.argv) != 2:
        sys.exit("Set CAMD_TOKEN to a key, and name a file for the number of the last event.")
    try:
        trio.run(main, trio.Path(Path(sys.argv[1])))
    except KeyboardInterrupt:
        pass
    except (camd.client.CannotConnectError, camd.client.RemoteError) as error:
        sys.exit(str(error))
