"""Ids of cameras and sessions."""

from __future__ import annotations

from typing import NewType

MAX_CAMERAS = 64  # of one service
ID_PATTERN = "[a-z0-9_-]{1,64}"  # of a camera; it is a part of file names

CameraId = NewType("CameraId", str)
SessionId = NewType("SessionId", str)
