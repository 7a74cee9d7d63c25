"""What cameras and sessions are called."""

from __future__ import annotations

from typing import NewType

CameraId = NewType("CameraId", str)
SessionId = NewType("SessionId", str)
