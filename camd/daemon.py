"""The daemon: its parts in the order in which they start; they stop in reverse.

`serve` opens, from bottom to top:

    state folder, authenticator, storage, device monitor, pipe poller
    cameras, their bindings, what an earlier run left unfinished, schedules
    retention, scrub, snapshots, publishing, transcodes, event log (in `services.open_services`)
    the server, with the methods and routes that `services.Services` collects

A signal cancels a start; once these parts run, it makes them close in order.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import sys
from functools import partial
from pathlib import Path

import structlog
import trio

from camd import __version__, systemd
from camd.auth.authenticator import Authenticator, open_authenticator
from camd.camera.bindings import open_binder
from camd.camera.cameras import open_cameras
from camd.camera.program_watch import open_program_watch
from camd.camera.unfinished import open_unfinished_work
from camd.clock import SYSTEM_CLOCK, Clock
from camd.config.load import load_config
from camd.config.schema import Config
from camd.devices.listing import discovery_config
from camd.devices.monitor import open_monitor
from camd.devices.query import read_capabilities
from camd.errors import ConfigError, Refusal, sole_exception
from camd.live.rules.live_messages import SUBPROTOCOL
from camd.logs import DRAIN_SECONDS, open_log, set_up_logging
from camd.model import Event
from camd.reload import CurrentConfig
from camd.rpc.registry import Notification
from camd.runtime import fd_limits
from camd.runtime.broadcast import Fanout
from camd.runtime.folders.folder_lock import FolderRefusedError
from camd.runtime.folders.format_marker import FormatRefusedError
from camd.runtime.folders.state_folder import open_state
from camd.runtime.pipe_poller import open_pipe_poller
from camd.schedules.rules.decision import planned_end
from camd.schedules.schedules import open_schedules
from camd.server.accepting import open_server
from camd.server.application_socket import WebSocketPrefix
from camd.server.listeners import ListenError
from camd.service_signals import ServiceSignals
from camd.services import open_services
from camd.storage.storage import open_storage
from camd.systemd_notifier import SystemdNotifier

log = structlog.get_logger("camd.daemon")

EX_CONFIG = 78  # sysexits.h; systemd does not restart the service after it


async def serve(
    config: Config, config_path: Path | None, signals: ServiceSignals, *, clock: Clock
) -> None:
    """Run all parts of the daemon until a stop signal comes.

    Raises ListenError, FolderRefusedError or ConfigError when it cannot start.
    """
    signals.attach()
    max_sockets = fd_limits.socket_limit(fd_limits.raise_limit())
    state_dir, events = config.storage.state_dir, Fanout[Event]()
    with signals.cancel_on_stop():
        async with (
            open_state(state_dir),
            open_authenticator(config.auth, state_dir, clock=clock) as authenticator,
            open_storage(config.storage, events, clock=clock) as storage,
            open_monitor(discovery_config(config), query=read_capabilities) as monitor,
            open_pipe_poller() as pipes,
        ):
            signals.stop_in_order()
            async with (
                open_cameras(
                    config,
                    storage=storage,
                    events=events,
                    clock=clock,
                    monitor=monitor,
                    pipes=pipes,
                ) as cameras,
                open_program_watch(cameras),
                open_binder(config, cameras=cameras, monitor=monitor) as binder,
                open_unfinished_work(
                    config,
                    storage=storage,
                    cameras=cameras,
                    clock=clock,
                    planned_end=partial(planned_end, config.schedules),
                ) as resumed,
                open_schedules(
                    config, cameras=cameras, events=events, resumed=resumed, clock=clock
                ) as schedules,
            ):
                current = CurrentConfig(
                    config=config,
                    path=config_path,
                    cameras=cameras,
                    binder=binder,
                    storage=storage,
                    schedules=schedules,
                    resumed=resumed,
                )
                await serve_clients(
                    current, authenticator, events, signals, max_sockets, clock=clock
                )
    log.info("stopped")


async def serve_clients(
    current: CurrentConfig,
    authenticator: Authenticator,
    events: Fanout[Event],
    signals: ServiceSignals,
    max_sockets: int,
    *,
    clock: Clock,
) -> None:
    """Run the API, the server and the background work until a stop signal comes."""
    config, notifications = current.config, Fanout[Notification]()
    with signals.cancel_on_stop():
        async with open_services(current, authenticator, events, clock=clock) as services:
            web = await services.web()
            with services.listening(events, notifications):
                async with open_server(
                    config.server,
                    registry=services.registry(),
                    authenticator=authenticator,
                    notifications=notifications,
                    history=services.event_log.history,
                    app=web.app(),
                    clock=clock,
                    inherited=systemd.inherited_sockets(os.environ),
                    legacy_dialect=config.auth.legacy_dialect,
                    call_stats=services.calls,
                    max_sockets=max_sockets,
                    sockets=(
                        WebSocketPrefix("/live/", SUBPROTOCOL, services.live_routes.serve_socket),
                    ),
                ) as server:
                    signals.stop_in_order()
                    web.ready = True
                    gc.freeze()  # these objects live as long as the process: do not scan them again
                    systemd.notify(f"READY=1\nSTATUS=Serving on {', '.join(server.addresses)}")
                    manager = SystemdNotifier(current.cameras, current.storage, server.addresses)
                    await handle_signals(signals, current, manager)
                    systemd.notify("STOPPING=1")


async def handle_signals(
    signals: ServiceSignals, current: CurrentConfig, manager: SystemdNotifier
) -> None:
    """Reload on SIGHUP, and tell systemd how the service does; return on a stop signal."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.serve)
        nursery.start_soon(_reload_on_signal, signals, current, manager)
        await signals.wait_stop()
        nursery.cancel_scope.cancel()


async def _reload_on_signal(
    signals: ServiceSignals, current: CurrentConfig, manager: SystemdNotifier
) -> None:
    while True:
        await signals.wait_reload()
        try:
            with manager.reloading():
                await current.reload()
        except Refusal as refusal:
            mistakes = refusal.details.get("errors", ())
            log.error("configuration_refused", why=refusal.message, mistakes=mistakes)


def run_daemon(config_path: Path | None) -> int:
    """Run the daemon in this process; return its exit status: 0, 1, or 78 for a bad config."""
    stream = open_log()
    signals = ServiceSignals(stream.drain)
    signals.install()
    set_up_logging(os.environ.get("CAMD_LOG_LEVEL", "info"), stream=stream)
    faulthandler.enable()  # the watchdog's SIGABRT leaves a traceback
    try:
        config = load_config(config_path, dict(os.environ))
        log.info("starting", version=__version__, config=str(config.file or "defaults"))
        SYSTEM_CLOCK.boot_id()  # cached here: the event loop must not read files
        trio.run(partial(serve, config, config_path, signals, clock=SYSTEM_CLOCK))
    except (ConfigError, ListenError, FolderRefusedError, BaseExceptionGroup) as error:
        cause = sole_exception(error)
        if not isinstance(cause, (ConfigError, ListenError, FolderRefusedError)):
            raise
        stream.drain(DRAIN_SECONDS)
        print(f"camd: {cause}", file=sys.stderr)  # noqa: T201 - for people who start it by hand
        return EX_CONFIG if isinstance(cause, (ConfigError, FormatRefusedError)) else 1
    return 0
