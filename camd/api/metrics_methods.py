"""Metrics as a method, and as text for Prometheus."""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Mapping
from pathlib import Path

import attrs
import trio
from starlette.requests import Request

from camd.api import result_fields
from camd.clock import Clock
from camd.contract.system_results import MetricsInfo
from camd.metrics.collector import MetricsCollector
from camd.model import CameraId
from camd.rpc.registry import Caller, NoParams, method
from camd.rpc.roles import Role

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


@attrs.define(eq=False)
class MetricsApi:
    """Handler of `get_metrics`."""

    _metrics: MetricsCollector
    _clock: Clock = attrs.field(kw_only=True)
    _started: float = attrs.field(
        default=attrs.Factory(lambda self: self._clock.monotonic(), takes_self=True), init=False
    )

    @method(role=Role.ADMIN, result=MetricsInfo)
    async def get_metrics(self, caller: Caller, params: NoParams) -> result_fields.View:
        """Report the load of the service, and what each camera and the volume have done.

        `memory_usage` and `cpu_usage` are percent of this machine's memory and processors, for the
        daemon without its FFmpeg processes; `cpu_usage` is the average since the start. The other
        values are those of `/metrics`.
        """
        snapshot = self._metrics.snapshot()
        memory, total = await trio.to_thread.run_sync(_memory_bytes)
        seconds = max(0.001, self._clock.monotonic() - self._started)
        cores = os.cpu_count() or 1
        calls, recorder = snapshot.calls, snapshot.recorder
        return {
            "active_connections": calls.connections,
            "total_requests": calls.requests,
            "average_response_time": round(calls.average_response_ms, 3),
            "error_rate": round(calls.error_rate, 6),
            "memory_usage": round(100 * memory / total, 3) if total else 0.0,
            "memory_bytes": memory,
            "cpu_usage": round(100 * time.process_time() / seconds / cores, 3),
            "uptime": round(seconds, 3),
            "refused_connections": calls.refused_connections,
            "notifications": calls.notifications,
            "cameras": [
                {
                    "camera_id": camera.status.camera_id,
                    "state": camera.status.state.value,
                    "recording": camera.status.session is not None,
                    "frames_captured": camera.frames_captured,
                    "bytes_captured": camera.status.bytes_captured,
                    "bytes_recorded": recorder.recorded_bytes.get(camera.status.camera_id, 0),
                    "seconds_recorded": round(
                        recorder.recorded_seconds.get(camera.status.camera_id, 0.0), 3
                    ),
                    "gap_seconds": _of_camera(recorder.gap_seconds, camera.status.camera_id),
                    "last_durable_age": camera.durable_age and round(camera.durable_age, 3),
                }
                for camera in snapshot.cameras
            ],
            "storage": result_fields.storage(snapshot.storage),
        }


def _of_camera(values: Mapping[tuple[CameraId, str], float], camera: CameraId) -> dict[str, float]:
    return {cause: round(value, 3) for (each, cause), value in values.items() if each == camera}


def _memory_bytes() -> tuple[int, int]:
    """Return the resident memory of this process, and this machine's memory. Reads /proc."""
    memory_page = os.sysconf("SC_PAGE_SIZE")
    resident = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return resident * memory_page, os.sysconf("SC_PHYS_PAGES") * memory_page


def comes_from_this_machine(request: Request) -> bool:
    """Whether a request was made on this machine: by loopback or Unix socket, without a proxy."""
    if any(name in request.headers for name in _FORWARDED):
        return False
    if request.client is None:
        return True
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
