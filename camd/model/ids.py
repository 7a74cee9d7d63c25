"""What cameras and sessions are called."""

from __future__ import annotations

from typing import NewType

ID_PATTERN = "[a-z0-9_-]{1,64}"  # of a camera: part of file names, so nothing else is in it

CameraId = NewType("CameraId", str)
SessionId = NewType("SessionId", str)
