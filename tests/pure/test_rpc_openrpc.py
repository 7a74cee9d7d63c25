"""The OpenRPC document describes the methods of the registry."""

from __future__ import annotations

import enum
import json
from datetime import datetime
from typing import Annotated, NewType

import attrs

from camd.contract.result_types import Time, doc, one_of
from camd.errors import CAMERA_UNKNOWN, INVALID_PARAMS, SHUTTING_DOWN, TABLE
from camd.rpc.codec import encode_result
from camd.rpc.openrpc import openrpc_document, registry_with_discovery
from camd.rpc.registry import Caller, MethodDescription, NoParams, Registry, method
from camd.rpc.roles import Role

CameraId = NewType("CameraId", str)


class Picture(enum.Enum):
    JPG = "jpg"
    PNG = "png"


@attrs.frozen
class Snapshot:
    device: Annotated[CameraId, doc("which camera")] = attrs.field(
        metadata={"aliases": ("camera_id",)}
    )
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
    described = openrpc_document(Registry([SnapshotMethods()]).methods, title="camd", version="1.0")
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
        "description": "which camera",
    }
    assert (since["name"], since["required"]) == ("from", False)
    assert picture["schema"]["default"] == "jpg"
    name = picture["schema"]["$ref"].rpartition("/")[2]
    assert text["components"]["schemas"][name]["enum"] == ["jpg", "png"]
    assert text["components"]["errors"]["forbidden"]["code"] == -32003


@attrs.frozen(kw_only=True)
class Shot:
    """A picture that was taken."""

    start: Time = attrs.field(metadata={"name": "from"})
    size: Annotated[int, doc("in bytes")]
    format: Annotated[str, one_of("jpg", "png")]
    note: str | None = None


@attrs.frozen(kw_only=True)
class ShotList:
    """Pictures."""

    shots: tuple[Shot, ...]


@attrs.frozen
class Quality:
    level: int = attrs.field(
        default=85, validator=[attrs.validators.ge(1), attrs.validators.le(100)]
    )
    width: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.ge(16))
    )
    name: str = attrs.field(default="", validator=attrs.validators.max_len(9))


class QualityMethods:
    """A method whose parameters have bounds."""

    @method(role=Role.VIEWER)
    async def improve(self, caller: Caller, params: Quality) -> object:
        """Make it better."""


def test_bounds_of_parameters_are_described() -> None:
    """Those of numbers, also where a parameter may be left out."""
    (improve,) = openrpc_document(
        Registry([QualityMethods()]).methods, title="camd", version="1.0"
    )["methods"]
    level, width, name = (each["schema"] for each in improve["params"])
    assert level == {"type": "integer", "minimum": 1, "maximum": 100, "default": 85}
    assert (width["minimum"], "maximum" in width) == (16, False)
    assert name == {"type": "string", "default": ""}


class ShotMethods:
    """Methods whose results are declared."""

    @method(role=Role.VIEWER, result=ShotList | None)
    async def list_shots(self, caller: Caller, params: NoParams) -> object:
        """List pictures."""

    @method(role=Role.VIEWER)
    async def mystery(self, caller: Caller, params: NoParams) -> object:
        """Answer anything."""


def test_results_are_described_with_the_names_that_are_sent() -> None:
    """Names, types, listed values, meanings; what may be absent is not required."""
    described = openrpc_document(
        Registry([ShotMethods()]).methods,
        title="camd",
        version="1.0",
        notifications={"shot": Shot},
    )
    shots, mystery = described["methods"]
    reference = {"$ref": "#/components/schemas/ShotList"}
    assert shots["result"]["schema"] == {"anyOf": [reference, {"type": "null"}]}
    assert mystery["result"]["schema"] == {}
    schema = described["components"]["schemas"]["Shot"]
    assert schema["required"] == ["from", "size", "format"]
    assert schema["properties"]["from"] == {"type": "string", "format": "date-time"}
    assert schema["properties"]["size"] == {"type": "integer", "description": "in bytes"}
    assert schema["properties"]["format"] == {"type": "string", "enum": ["jpg", "png"]}
    assert list(schema["properties"]) == ["from", "size", "format", "note"]
    sent = {"name": "shot", "schema": {"$ref": "#/components/schemas/Shot"}}
    assert described["x-notifications"] == [sent]


def test_a_method_that_is_answered_elsewhere_is_described_without_a_role() -> None:
    """So that clients find `authenticate`, too."""
    other = MethodDescription(
        name="authenticate", params=Snapshot, result=Shot, documentation="Say who."
    )
    registry = registry_with_discovery((ShotMethods(),), others=(other,))
    assert "authenticate" not in {each.name for each in registry.methods}
    (described,) = openrpc_document([other], title="camd", version="1.0")["methods"]
    assert described["name"] == "authenticate"
    assert "x-role" not in described


def test_each_error_has_its_own_code_and_name() -> None:
    """Clients tell errors apart by code, documents by name; every kind is in the table."""
    assert len({kind.code for kind in TABLE}) == len(TABLE)
    assert len({kind.name for kind in TABLE}) == len(TABLE)
    assert {CAMERA_UNKNOWN, INVALID_PARAMS, SHUTTING_DOWN} <= set(TABLE)
