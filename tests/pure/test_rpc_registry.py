"""Declaration of methods, roles and strict parameters."""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from typing import Any, NewType

import attrs
import pytest
from attrs import validators
from hypothesis import given
from hypothesis import strategies as st

from camd.errors import Refusal
from camd.rpc.params import with_warnings
from camd.rpc.registry import Caller, NoParams, Registry, method
from camd.rpc.roles import AuthMethod, Principal, Role

CameraId = NewType("CameraId", str)


class Picture(enum.Enum):
    JPG = "jpg"
    PNG = "png"


@attrs.frozen
class Everything:
    device: CameraId = attrs.field(metadata={"aliases": ("camera_id",)})
    quality: int = attrs.field(
        default=85, validator=validators.and_(validators.ge(1), validators.le(100))
    )
    ratio: float = 1.0
    enabled: bool = True
    format: Picture = Picture.JPG
    note: str | None = None
    topics: tuple[str, ...] = ()
    since: datetime | None = attrs.field(default=None, metadata={"name": "from"})

    def __attrs_post_init__(self) -> None:
        if self.note == "bad":
            raise ValueError("note and device do not go together")


class MethodsOfEachRole:
    """One method for each role."""

    @method(role=Role.OPERATOR)
    async def everything(self, caller: Caller, params: Everything) -> object:
        """Take everything."""

    @method(role=Role.VIEWER, immediate=True)
    async def look(self, caller: Caller, params: NoParams) -> object:
        """Look
        around.

        Nothing is
        changed.
        """
        return {"a": 1}

    @method(role=Role.ADMIN)
    async def rule(self, caller: Caller, params: NoParams) -> object:
        """Rule."""

    async def helper(self, caller: Caller, params: NoParams) -> object:
        """Help the handlers; no method of the API."""


REGISTRY = Registry([MethodsOfEachRole()])


def caller(role: Role = Role.ADMIN) -> Caller:
    return Caller(Principal("somebody", role, None, AuthMethod.JWT), "1")


def read(**params: object) -> Everything:
    value = REGISTRY.prepare("everything", {"device": "camera0", **params}, caller()).params
    assert isinstance(value, Everything)
    return value


def errors(params: dict[str, object]) -> dict[str, str]:
    with pytest.raises(Refusal) as caught:
        REGISTRY.prepare("everything", params, caller())
    assert caught.value.kind.code == -32602
    listed: Any = caught.value.details["errors"]
    assert all(error["path"] in caught.value.message for error in listed)
    return {error["path"]: error["message"] for error in listed}


def test_parameters_become_a_value() -> None:
    """Each parameter is read as the type of its field."""
    assert read(
        quality=7.0,
        ratio=2,
        enabled=False,
        format="png",
        note=None,
        topics=["a", "b"],
        **{"from": "2026-01-15T15:30:00+01:00"},
    ) == Everything(
        CameraId("camera0"),
        7,
        2.0,
        False,
        Picture.PNG,
        None,
        ("a", "b"),
        datetime(2026, 1, 15, 14, 30, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("device", None),
        ("device", 5),
        ("quality", "85"),
        ("quality", 7.9),
        ("quality", True),
        ("quality", None),
        ("quality", 0),
        ("quality", 101),
        ("ratio", "1"),
        ("ratio", False),
        ("ratio", 10**400),
        ("enabled", "false"),
        ("enabled", 0),
        ("format", "gif"),
        ("format", ["jpg"]),
        ("note", 5),
        ("topics", "abc"),
        ("topics", [1]),
        ("from", "yesterday"),
        ("from", 5),
    ],
)
def test_nothing_is_coerced(name: str, value: object) -> None:
    """A value of the wrong kind is refused with the name that the client used for it."""
    assert list(errors({"device": "camera0", name: value})) == [name]


def test_all_mistakes_are_listed_at_once() -> None:
    """A caller need not find them one by one."""
    assert errors({"quality": "x", "ratio": "y", "zzz": 1}) == {
        "device": "is required",
        "quality": "must be a whole number",
        "ratio": "must be a number",
    }


def test_unknown_parameters_are_named_and_change_nothing() -> None:
    """What clients send for other services is ignored, also a field's name inside of us."""
    params = {"device": "camera0", "filename": "a.mp4", "since": "2026-01-15T14:30:00Z"}
    ready = REGISTRY.prepare("everything", params, caller())
    assert ready.params == Everything(CameraId("camera0"))
    assert ready.unknown == ("filename", "since")
    assert REGISTRY.prepare("look", {"anything": [{}]}, caller()).unknown == ("anything",)


def test_names_of_unknown_parameters_are_bounded_and_escaped() -> None:
    """A name of a megabyte, a thousand of them, or one that holds escapes: a short list."""
    ready = REGISTRY.prepare("look", {"x" * 10**6: 1, "a\n\x1b[31m\u202e": 2}, caller())
    assert ready.unknown == ("x" * 40 + "…", "a\\n\\x1b[31m\\u202e")
    many = REGISTRY.prepare("look", {f"name{n}": n for n in range(1000)}, caller()).unknown
    assert many == (*(f"name{n}" for n in range(8)), "and 992 more")


def test_a_result_says_what_was_ignored_where_it_has_a_place() -> None:
    """An object gets `warnings`, after those that it has; other results are not changed."""
    ready = REGISTRY.prepare("look", {"filename": "a.mp4"}, caller())
    said = "unknown parameter, ignored: filename"
    assert with_warnings({"a": 1, "warnings": ["old"]}, ready.unknown) == {
        "a": 1,
        "warnings": ["old", said],
    }
    assert with_warnings({"a": 1}, ready.unknown) == {"a": 1, "warnings": [said]}
    assert with_warnings("pong", ready.unknown) == "pong"
    assert with_warnings({"a": 1}, REGISTRY.prepare("look", {}, caller()).unknown) == {"a": 1}


def test_the_message_of_a_validator_reaches_the_client() -> None:
    """The message of a validator is not replaced by a general one."""
    assert errors({"camera_id": "camera0", "quality": 101}) == {"quality": "must be <= 100: 101"}


def test_a_class_may_refuse_a_combination() -> None:
    """A ValueError of the class as a whole is an error without a path."""
    assert errors({"device": "camera0", "note": "bad"}) == {
        "": "note and device do not go together"
    }


def test_two_names_of_one_parameter_must_agree() -> None:
    """Both may be given with the same value; different values are an error."""
    assert read(camera_id="camera0").device == "camera0"
    assert list(errors({"device": "camera0", "camera_id": "camera1"})) == ["camera_id"]


def test_an_unknown_method_is_named() -> None:
    """The refusal names the method."""
    with pytest.raises(Refusal, match="no_such") as caught:
        REGISTRY.prepare("no_such", {}, caller())
    assert caught.value.kind.code == -32601


@given(st.sampled_from(Role), st.sampled_from(["look", "everything", "rule"]))
def test_nobody_reaches_a_method_above_their_role(role: Role, name: str) -> None:
    """A lower role is refused before its parameters are looked at."""
    method = next(method for method in REGISTRY.methods if method.name == name)
    order = [Role.VIEWER, Role.OPERATOR, Role.ADMIN]
    if order.index(role) >= order.index(method.role):
        assert REGISTRY.prepare(name, {"device": "camera0"}, caller(role)).method is method
        return
    with pytest.raises(Refusal) as caught:
        REGISTRY.prepare(name, {"device": 1}, caller(role))
    assert caught.value.kind.code == -32003
    assert caught.value.details == {"required": method.role.value, "role": role.value}


def test_the_declared_handlers_become_methods() -> None:
    """Name, role, parameters and documentation come from the handlers; no others are offered."""
    assert [found.name for found in REGISTRY.methods] == ["everything", "look", "rule"]
    everything, look, _ = REGISTRY.methods
    assert (everything.role, everything.params) == (Role.OPERATOR, Everything)
    assert (everything.immediate, look.immediate) == (False, True)
    assert (look.summary, look.description) == ("Look around.", "Nothing is changed.")
    assert (everything.summary, everything.description) == ("Take everything.", "")


async def test_a_call_runs_the_handler_of_its_object() -> None:
    """The result comes back, with a warning for a parameter that the method does not have."""
    assert await REGISTRY.prepare("look", {}, caller()).run() == {"a": 1}
    said = "unknown parameter, ignored: depth"
    assert await REGISTRY.prepare("look", {"depth": 2}, caller()).run() == {
        "a": 1,
        "warnings": [said],
    }


def test_two_methods_cannot_share_a_name() -> None:
    """A second method of the same name is a mistake in the program."""
    with pytest.raises(ValueError, match="everything"):
        Registry([MethodsOfEachRole(), MethodsOfEachRole()])


def test_a_method_needs_a_role_and_documentation() -> None:
    """Forgetting one is found when the program starts, not when somebody calls."""
    with pytest.raises(TypeError):
        method(role=None)  # type: ignore[arg-type]

    async def undocumented(caller: Caller, params: NoParams) -> object:
        return None

    with pytest.raises(TypeError, match="docstring"):
        method(role=Role.VIEWER)(undocumented)


def test_permissions_grow_with_the_role() -> None:
    """The lists are those that clients know."""
    assert [list(role.permissions) for role in Role] == [
        ["view"],
        ["view", "control"],
        ["view", "control", "admin"],
    ]
