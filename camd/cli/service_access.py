"""Call the service and print results: its address, the token, options, calls and failures.

The address is `--server`, `$CAMD_URL`, a Unix socket of the configuration that exists and that this
user may connect to, or the first address that the configuration listens on. The token is `--token`,
`$CAMD_TOKEN`, or the admin key that the service wrote at its first start; on a Unix socket the user
may be enough, see `[auth.peers]`.
"""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import attrs
import click

from camd.cli import config_option, terminal
from camd.cli.exit import (
    CallRefused,
    CommandFailed,
    ServiceUnreachableFailure,
    misconfigured,
    refused,
)
from camd.cli.terminal import print_json
from camd.errors import ConfigError, sole_exception

if TYPE_CHECKING:
    from camd.client import Client, RemoteError
    from camd.config.schema import Config, ServerConfig

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])

_ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound to


@attrs.frozen
class ServiceAccess:
    """The address of the service and the token for it, which stays out of `repr`."""

    address: str
    token: str | None = attrs.field(default=None, repr=False)
    hint: str = ""  # how to get a token, when there is none
    config_path: Path | None = None  # from the command line


def configured(config_path: Path | None) -> Config:
    """Load the configuration. Raises Misconfigured with its mistakes."""
    from camd.config.load import load_config

    try:
        return load_config(config_path, os.environ)
    except ConfigError as error:
        raise misconfigured(error.mistakes) from None


def find_service(config_path: Path | None, server: str | None, token: str | None) -> ServiceAccess:
    """Take the address and the token from the command line, else from the configuration."""
    from camd.auth.key_file import ADMIN_KEY_FILE

    if server and token:
        return ServiceAccess(server, token, "", config_path)
    config = configured(config_path)
    hint = ""
    if not token and config.auth.enabled:
        token, hint = _admin_key(config.storage.state_dir / ADMIN_KEY_FILE)
    address = server or local_socket(config.server) or client_address(config.server)
    if hint and address.startswith("unix:"):
        hint += ", or give this user a role in auth.peers"
    return ServiceAccess(address, token, hint, config_path)


def local_socket(server: ServerConfig) -> str | None:
    """Return the first Unix socket of the configuration that can be connected to, or None."""
    from camd.model.notation import UnixAddress, parse_listen

    for address in map(parse_listen, server.listen):
        if isinstance(address, UnixAddress) and _usable(address.path):
            return str(address)
    return None


def _usable(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode) and os.access(path, os.W_OK)
    except OSError:  # it is not there, or in a folder that this user may not enter
        return False


def client_address(server: ServerConfig) -> str:
    """Return the URL for the first address that the service listens on."""
    from camd.model.notation import TcpAddress, UnixAddress, parse_listen

    address = parse_listen(server.listen[0])
    if isinstance(address, UnixAddress):
        return str(address)
    host = _ANY_HOST.get(address.host, address.host)
    scheme = "wss" if server.tls_cert else "ws"
    return f"{scheme}://{TcpAddress(host, address.port)}{server.path}"


def web_page_address(access: ServiceAccess) -> str:
    """Return the URL of the web page. Raises CommandFailed where there is only a Unix socket."""
    address = access.address
    if address.startswith("unix:"):
        server = configured(access.config_path).server
        tcp = [each for each in server.listen if not each.startswith("unix:")]
        if not tcp:
            raise CommandFailed(
                "the service listens on a Unix socket only, which no browser can open; add an "
                'address such as "127.0.0.1:8002" to server.listen'
            )
        address = client_address(attrs.evolve(server, listen=tuple(tcp)))
    scheme, _, rest = address.partition("://")
    return f"{'https' if scheme == 'wss' else 'http'}://{rest.partition('/')[0]}"


def _admin_key(file: Path) -> tuple[str | None, str]:
    """Return the admin key, or None and how to get a token."""
    try:
        return file.read_text(encoding="ascii").strip(), ""
    except PermissionError:
        return None, f"the key is in {file}, which only another user can read; use sudo, or --token"
    except (OSError, UnicodeError):
        return None, f"there is no key in {file}; use --token or $CAMD_TOKEN"


def remote_options(command: F) -> F:
    """Add the options of commands that call the service; the command gets them as `access`."""

    @functools.wraps(command)
    def with_access(
        *args: object, config_path: Path | None, server: str | None, token: str | None, **kw: object
    ) -> object:
        return command(*args, access=find_service(config_path, server, token), **kw)

    result: Any = with_access
    return cast("F", _access_options(result))


def _options(*options: Callable[[Any], Any]) -> Callable[[F], F]:
    """Make one decorator of several options; help shows them in this order."""

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_access_options = _options(
    config_option,
    terminal.utc_option,
    click.option(
        "--server",
        metavar="URL",
        envvar="CAMD_URL",
        help="The service: ws://HOST:PORT/ws, wss://… or unix:/PATH.  [default: from the "
        "configuration]",
    ),
    click.option(
        "--token",
        envvar="CAMD_TOKEN",
        help="A JWT or an API key; $CAMD_TOKEN keeps it out of the process list.  "
        "[default: the admin key of the service on this machine]",
    ),
)

# The filters of a listing; the command gets them by the names of the call's parameters.
page_options = _options(
    click.option("--camera", metavar="CAMERA", help="Only those of this camera."),
    click.option("--session", "session_id", metavar="ID", help="Only those of this session."),
    click.option(
        "--from",
        "from",
        metavar="TIME",
        callback=terminal.read_time,
        help="Not older than '2026-01-15 15:30', 15:30, 'yesterday 15:30', -2h, or with a zone "
        "2026-01-15T14:30:00Z.",
    ),
    click.option(
        "--to", "to", metavar="TIME", callback=terminal.read_time, help="Not newer than this."
    ),
    click.option(
        "--limit",
        type=click.IntRange(1, 1000),
        default=20,
        show_default=True,
        help="Entries to show, at most.",
    ),
    click.option(
        "--offset", type=click.IntRange(0), default=0, show_default=True, help="Entries to skip."
    ),
)

# Adds `--json`; the command gets it as `as_json`.
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def printed_by(show: Callable[[Any], None]) -> Callable[[F], F]:
    """Add `--json`: the result of the command is printed as JSON with it, else by `show`."""

    def decorate(command: F) -> F:
        @functools.wraps(command)
        def with_output(*args: object, as_json: bool, **kw: object) -> None:
            print_result(command(*args, **kw), show, as_json=as_json)

        result: Any = with_output
        return cast("F", json_option(result))

    return decorate


def print_result(result: object, show: Callable[[Any], None], *, as_json: bool) -> None:
    """Print the result of a command as JSON, or by `show`."""
    if as_json:
        print_json(result)
    else:
        show(result)


def with_client(access: ServiceAccess, calls: Callable[[Client], Awaitable[T]]) -> T:
    """Connect, make the calls, return the result. Raises CommandFailed."""
    from camd.client import connect

    async def main() -> T:
        async with connect(access.address, access.token, reconnect=False, timeout=None) as client:
            return await calls(client)

    return run_to_end(main, access.hint)


def run_to_end(main: Callable[[], Awaitable[T]], hint: str = "") -> T:
    """Run `main`; turn the errors of the client into CommandFailed."""
    import trio

    try:
        return trio.run(main)
    except (Exception, BaseExceptionGroup) as error:
        raise _failure(sole_exception(error), hint) from None


async def interrupted(signals: AsyncIterator[int], work: Callable[[], Awaitable[object]]) -> bool:
    """Run `work` until it ends (False), or cancel it at the first signal (True)."""
    import trio

    received = False
    async with trio.open_nursery() as nursery:

        async def wait_signal() -> None:
            nonlocal received
            await anext(signals)
            received = True
            nursery.cancel_scope.cancel()

        nursery.start_soon(wait_signal)
        await work()
        nursery.cancel_scope.cancel()
    return received


def ask(access: ServiceAccess, method: str, **params: object) -> Any:
    """Call one method and return its result; omits parameters that are None."""
    given = {name: value for name, value in params.items() if value is not None}
    return with_client(access, lambda client: client.call(method, **given))


def ask_each(
    access: ServiceAccess, method: str, calls: Iterable[dict[str, object]]
) -> tuple[list[Any], list[tuple[dict[str, object], RemoteError]]]:
    """Call a method several times; return the results, and the refused parameters with the error.

    Raises CommandFailed when the token is not accepted or the connection is lost.
    """
    from camd.client import NotAuthenticatedError, RemoteError

    results: list[Any] = []
    refusals: list[tuple[dict[str, object], RemoteError]] = []

    async def call_each(client: Client) -> None:
        for params in calls:
            try:
                results.append(await client.call(method, **params))
            except NotAuthenticatedError:
                raise
            except RemoteError as error:
                refusals.append((params, error))

    with_client(access, call_each)
    return results, refusals


def fail_if_refused(refusals: Iterable[tuple[object, RemoteError]]) -> None:
    """Raise CallRefused with one paragraph for each subject whose call was refused."""
    if texts := [
        f"{subject}: {refused(e.code, e.message, e.data).message}" for subject, e in refusals
    ]:
        raise CallRefused("\n".join(texts))


def _failure(error: BaseException, hint: str) -> BaseException:
    from camd.client import (
        CannotConnectError,
        ConnectionLostError,
        RemoteError,
        UnreadableAnswerError,
    )

    match error:
        case RemoteError():
            return refused(error.code, error.message, error.data, hint)
        case CannotConnectError():
            return ServiceUnreachableFailure(
                f"{error}\n  Is the service running? `camd run` starts it, and `camd check` looks "
                "for what is wrong."
            )
        case ConnectionLostError():
            return ServiceUnreachableFailure(f"the connection was lost: {error}")
        case UnreadableAnswerError():
            return ServiceUnreachableFailure(
                f"the service answers otherwise than this camd knows: {error}"
            )
    return error
