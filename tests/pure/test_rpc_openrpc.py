"""The OpenRPC document describes the methods of the registry."""

from __future__ import annotations

import enum
import json
from datetime import datetime
from typing import NewType

import attrs

from camd.errors import CAMERA_UNKNOWN, INVALID_PARAMS, SHUTTING_DOWN, TABLE
from camd.rpc.codec import encode_result
from camd.rpc.openrpc import document
from camd.rpc.registry import Caller, NoParams, Registry, method
from camd.rpc.roles import Role

CameraId = NewType("CameraId", str)


class Picture(enum.Enum):
    JPG = "jpg"
    PNG = "png"


@attrs.frozen
class Snapshot:
    device: CameraId = attrs.field(metadata={"aliases": ("camera_id",), "help": "Which camera."})
    format: Picture = Picture.JPG
    since: datetime | None = attrs.field(default=None, metadata={"name": "from"})


class SnapshotMethods:
    """One method with parameters and one without."""

    @method(role=Role.VIEWER)
    async def ping(self, caller: Caller, params: NoParams) -> object:
        """Answer."""

    @method(role=Role.OPERATOR)
    async def take_snapshot(self, caller: Caller, params: Snapshot) -> object:
        """Take a picture.

        The camera must be streaming.
        """


def test_parameters_are_described_as_clients_name_them() -> None:
    """Names, aliases, types, required parameters, roles and documentation, as JSON."""
    described = document(Registry([SnapshotMethods()]).methods, title="camd", version="1.0")
    text = json.loads(encode_result(b"1", described))["result"]
    ping, snapshot = text["methods"]
    assert snapshot["summary"] == "Take a picture."
    assert snapshot["description"] == "The camera must be streaming."
    assert (ping["summary"], "description" in ping) == ("Answer.", False)
    assert (snapshot["name"], snapshot["x-role"], ping["params"]) == (
        "take_snapshot",
        "operator",
        [],
    )
    device, picture, since = snapshot["params"]
    assert device == {
        "name": "device",
        "required": True,
        "schema": {"type": "string"},
        "x-aliases": ["camera_id"],
        "description": "Which camera.",
    }
    assert (since["name"], since["required"]) == ("from", False)
    name = picture["schema"]["$ref"].rpartition("/")[2]
    assert text["components"]["schemas"][name]["enum"] == ["jpg", "png"]
    assert text["components"]["errors"]["forbidden"]["code"] == -32003


def test_each_error_has_its_own_code_and_name() -> None:
    """Clients tell errors apart by code, documents by name; every kind is in the table."""
    assert len({kind.code for kind in TABLE}) == len(TABLE)
    assert len({kind.name for kind in TABLE}) == len(TABLE)
    assert {CAMERA_UNKNOWN, INVALID_PARAMS, SHUTTING_DOWN} <= set(TABLE)
