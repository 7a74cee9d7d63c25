"""API methods: how handlers are declared, who may call them, and what they know of the caller."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

import attrs

from camd.errors import FORBIDDEN, METHOD_NOT_FOUND, Refusal
from camd.rpc.params import NoParams, ParamsReader, with_warnings
from camd.rpc.roles import Principal, Role

EVERYTHING = "*"  # in place of a subject: the call may cause any notification
_DECLARATION = "camd_api_method"  # the attribute of a decorated handler
_MAX_NAME_CHARACTERS = 80  # of an unknown method, in the answer

# --- What a handler gets to know of its caller.


@attrs.frozen
class Notification:
    """One JSON-RPC notification; its publisher adds `seq` and `time` to `params`.

    While notifications wait for a slow client, a newer one replaces an older one with the same
    `coalesce_key`; None: it replaces nothing. `about` names its subjects: it is held back until a
    running call about one of them is answered. `seq` is its number in the event log, None when it
    is not kept there; `topics` are the names by which clients choose it.
    """

    method: str
    params: object
    coalesce_key: str | None = None
    about: tuple[str, ...] = ()
    seq: int | None = None
    topics: tuple[str, ...] = ()


class ClientLink(Protocol):
    """What a handler can do with its caller's connection, apart from returning a result."""

    @property
    def wanted(self) -> Callable[[Notification], bool] | None:
        """The filter that `filter` has set last."""

    def filter(
        self, wanted: Callable[[Notification], bool] | None, since: int | None = None
    ) -> None:
        """Send only published notifications that `wanted` accepts; None: send all.

        With `since`, first those of the event log behind that number which the client has not been
        sent on this connection, after the answer to the call.
        """

    def notify(self, notification: Notification) -> None:
        """Send a notification to this client alone, after the answer to the call."""

    def hold(self, subject: str) -> None:
        """Hold back notifications about `subject` until the call is answered."""


class NoLink:
    """Link of a caller without a WebSocket: does nothing."""

    wanted: Callable[[Notification], bool] | None = None

    def filter(
        self, wanted: Callable[[Notification], bool] | None, since: int | None = None
    ) -> None:
        """See `ClientLink`."""

    def notify(self, notification: Notification) -> None:
        """See `ClientLink`."""

    def hold(self, subject: str) -> None:
        """See `ClientLink`."""


@attrs.frozen
class Caller:
    """Who makes a call, and on which connection."""

    identity: Principal
    connection_id: str
    link: ClientLink = attrs.field(factory=NoLink, repr=False)

    @property
    def name(self) -> str:
        """The caller's name, for the log and as the owner of sessions."""
        return self.identity.name


# --- Declaration and registry.

Handler = Callable[[Caller, Any], Awaitable[object]]
_F = TypeVar("_F", bound=Callable[..., Awaitable[object]])


@attrs.frozen
class _Declaration:
    role: Role = attrs.field(validator=attrs.validators.instance_of(Role))
    immediate: bool
    name: str | None
    result: Any


@attrs.frozen(kw_only=True)
class MethodDescription:
    """What clients are told of a method: its parameters, an attrs class, and its result, a type."""

    name: str
    params: type
    result: Any = Any
    documentation: str

    @property
    def summary(self) -> str:
        """The first paragraph of the documentation, on one line."""
        return " ".join(self.documentation.partition("\n\n")[0].split())

    @property
    def description(self) -> str:
        """The documentation after its first paragraph; may be empty."""
        return " ".join(self.documentation.partition("\n\n")[2].split())


@attrs.frozen(kw_only=True)
class Method(MethodDescription):
    """A declared method of one API object."""

    role: Role
    handler: Handler
    immediate: bool = False


def method(
    *, role: Role, result: Any = Any, immediate: bool = False, name: str | None = None
) -> Callable[[_F], _F]:
    """Declare a handler as the API method of the same name, open to `role` and higher roles.

    `name`: the method's name, where Python does not allow it as that of a function. The handler's
    docstring is the documentation of the method. Its argument `params` must be annotated with an
    attrs class: the fields are the parameters. `result` is the type of what clients get, made of
    the classes of `camd.contract`. `immediate`: the handler never waits, so that it can run without
    a task of its own. Raises TypeError for an invalid role, or for a handler without a
    docstring.
    """
    declaration = _Declaration(role=role, immediate=immediate, name=name, result=result)

    def declare(handler: _F) -> _F:
        if not handler.__doc__:
            raise TypeError(f"{handler} needs a docstring: it documents the API method")
        setattr(handler, _DECLARATION, declaration)
        return handler

    return declare


def methods_of(api: object) -> tuple[Method, ...]:
    """Collect the methods that the class of `api` declares, bound to `api`."""
    handlers = inspect.getmembers_static(type(api), inspect.isfunction)
    return tuple(
        Method(
            name=declaration.name or name,
            role=declaration.role,
            params=typing.get_type_hints(handler)["params"],
            handler=getattr(api, name),
            documentation=inspect.cleandoc(handler.__doc__ or ""),
            immediate=declaration.immediate,
            result=declaration.result,
        )
        for name, handler in handlers
        if (declaration := getattr(handler, _DECLARATION, None)) is not None
    )


@attrs.frozen
class PreparedCall:
    """A valid call. `unknown` names parameters that the method ignores."""

    caller: Caller
    method: Method
    params: object
    unknown: tuple[str, ...] = ()

    async def run(self) -> object:
        """Call the handler; give its result, with a warning for each ignored parameter."""
        result = await self.method.handler(self.caller, self.params)
        return with_warnings(result, self.unknown)


class Registry:
    """The methods of all API objects by name. Raises ValueError when two have the same name."""

    def __init__(self, apis: Iterable[object]) -> None:
        self._methods: dict[str, tuple[Method, ParamsReader]] = {}
        for found in (each for api in apis for each in methods_of(api)):
            if found.name in self._methods:
                raise ValueError(f"two methods are called {found.name}")
            self._methods[found.name] = (found, ParamsReader(found.params))

    @property
    def methods(self) -> tuple[Method, ...]:
        """All methods, sorted by name."""
        return tuple(self._methods[name][0] for name in sorted(self._methods))

    def prepare(self, name: str, params: Mapping[str, object], caller: Caller) -> PreparedCall:
        """Validate a call. Raises Refusal: unknown method, role too low, wrong parameters."""
        try:
            found, reader = self._methods[name]
        except KeyError:
            shown = name[:_MAX_NAME_CHARACTERS]
            message = f"Method not found: {shown}"
            raise Refusal(METHOD_NOT_FOUND, message, method=shown) from None
        role = caller.identity.role
        if not role.includes(found.role):
            raise Refusal(FORBIDDEN, required=found.role.value, role=role.value)
        return PreparedCall(caller, found, reader.read(params), reader.unknown(params))


__all__ = [
    "EVERYTHING",
    "Caller",
    "ClientLink",
    "Handler",
    "Method",
    "MethodDescription",
    "NoLink",
    "NoParams",
    "Notification",
    "PreparedCall",
    "Registry",
    "method",
    "methods_of",
]
