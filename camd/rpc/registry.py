"""The methods that there are: who may call each, with which parameters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

import attrs

from camd.errors import FORBIDDEN, METHOD_NOT_FOUND, Refusal
from camd.rpc.params import NoParams, ParamsReader, warned
from camd.rpc.roles import ANONYMOUS, Principal, Role

# --- News that clients receive without having asked.

EVERYTHING = "*"  # in place of a subject: a call that may cause any news


@attrs.frozen
class Notification:
    """One JSON-RPC notification; `params` carries `seq` and `time`, added by its publisher.

    Notifications with the same `coalesce_key` replace each other while they wait for a slow
    client: only the latest state counts. `None` never coalesces. `about` names what it is about;
    it waits for the answer to a call about the same.
    """

    method: str
    params: object
    coalesce_key: str | None = None
    about: tuple[str, ...] = ()


# --- The methods that there are: who may call each, with which parameters.


class ClientLink(Protocol):
    """The way back to the client who called, beside the answer."""

    def narrow(self, wanted: Callable[[Notification], bool] | None) -> None:
        """Send only published notifications that `wanted` accepts; None: all of them again."""

    def notify(self, notification: Notification) -> None:
        """Send a notification to this client alone; queued behind the call's answer."""

    def hold(self, subject: str) -> None:
        """Keep news about `subject` from this client until the call is answered."""


class NoLink:
    """For callers who are not on a WebSocket: nothing is sent to them."""

    def narrow(self, wanted: Callable[[Notification], bool] | None) -> None:
        """Do nothing."""

    def notify(self, notification: Notification) -> None:
        """Do nothing."""

    def hold(self, subject: str) -> None:
        """Do nothing."""


@attrs.frozen
class Caller:
    """Who calls, and on which connection."""

    identity: Principal
    connection_id: str
    link: ClientLink = attrs.field(factory=NoLink, repr=False)

    @property
    def name(self) -> str:
        """The caller's name, for the log and for ownership."""
        return self.identity.name


Handler = Callable[[Caller, Any], Awaitable[object]]

LOCAL_CALLER = Caller(ANONYMOUS, "local")


@attrs.frozen
class Method:
    """One method. `params` is an attrs class; the handler gets a value of it.

    `immediate` promises that the handler never waits: it then runs without a task of its own.
    """

    name: str = attrs.field(validator=attrs.validators.min_len(1))
    role: Role = attrs.field(validator=attrs.validators.instance_of(Role))
    params: type
    handler: Handler
    summary: str
    immediate: bool = False


@attrs.frozen
class PreparedCall:
    """A call that may be made: the caller, the method, and its parameters as a value.

    `unknown` names parameters that the method does not have; they are ignored.
    """

    caller: Caller
    method: Method
    params: object
    unknown: tuple[str, ...] = ()

    def warned(self, result: object) -> object:
        """Give the result with a warning for each ignored parameter, where it has a place."""
        return warned(result, self.unknown)


class Registry:
    """All methods by name. Raises ValueError when two have the same one."""

    def __init__(self, methods: Iterable[Method]) -> None:
        self._methods: dict[str, tuple[Method, ParamsReader]] = {}
        for method in methods:
            if method.name in self._methods:
                raise ValueError(f"two methods are called {method.name}")
            self._methods[method.name] = (method, ParamsReader(method.params))

    @property
    def methods(self) -> tuple[Method, ...]:
        """All methods, by name."""
        return tuple(self._methods[name][0] for name in sorted(self._methods))

    def prepare(self, name: str, params: Mapping[str, object], caller: Caller) -> PreparedCall:
        """Check a call; raise the Refusal that it deserves (unknown, forbidden, parameters)."""
        try:
            method, reader = self._methods[name]
        except KeyError:
            message = f"Method not found: {name[:80]}"
            raise Refusal(METHOD_NOT_FOUND, message, method=name[:80]) from None
        role = caller.identity.role
        if not role.includes(method.role):
            raise Refusal(FORBIDDEN, required=method.role.value, role=role.value)
        return PreparedCall(caller, method, reader.read(params), reader.unknown(params))

    async def call(self, name: str, params: Mapping[str, object], caller: Caller) -> object:
        """Check a call and make it; raises Refusal. For callers without a connection."""
        ready = self.prepare(name, params, caller)
        return await ready.method.handler(caller, ready.params)


__all__ = [
    "LOCAL_CALLER",
    "Caller",
    "ClientLink",
    "Handler",
    "Method",
    "NoLink",
    "NoParams",
    "PreparedCall",
    "Registry",
]


# --- How much was asked, how long it took, how often it failed; for the metrics.


@attrs.define(eq=False)
class CallStats:
    """Counters of one server; the front writes them, everybody may read."""

    connections: int = 0
    refused_connections: int = 0
    requests: int = 0
    errors: int = 0  # answered with an error, whatever its kind
    crashes: int = 0  # of these, bugs
    busy_seconds: float = 0.0
    notifications: int = 0

    @property
    def average_response_ms(self) -> float:
        """How long a call took on average."""
        return self.busy_seconds / self.requests * 1000 if self.requests else 0.0

    @property
    def error_rate(self) -> float:
        """The share of calls that were answered with an error, 0 to 1."""
        return self.errors / self.requests if self.requests else 0.0
