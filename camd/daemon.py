"""The whole daemon: what it consists of, in the order in which it starts; it stops in reverse."""

from __future__ import annotations

import faulthandler
import gc
import os
import sys
from pathlib import Path

import structlog
import trio

from camd import __version__, systemd
from camd.api.camera_methods import CamerasApi
from camd.api.control_methods import ControlsApi
from camd.api.device_methods import DevicesApi
from camd.api.event_publisher import EventPublisher
from camd.api.http_app import HttpApp
from camd.api.recording_methods import HistoryApi, RecordingsApi
from camd.api.retention_methods import FilesApi, RetentionApi
from camd.api.system_methods import StorageApi, SystemApi
from camd.auth.authenticator import Authenticator, open_authenticator
from camd.camera.cameras import open_cameras
from camd.clock import boot_id
from camd.config.load import load_config
from camd.config.schema import Config
from camd.devices.listing import discovery_config
from camd.devices.monitor import open_monitor
from camd.devices.query import read_capabilities
from camd.errors import ConfigError, Refusal
from camd.logs import DRAIN_SECONDS, NonBlockingStream, set_up_logging
from camd.model import Event
from camd.reload import LiveConfig
from camd.rpc.registry import Notification, Registry
from camd.runtime import fd_limits
from camd.runtime.broadcast import Fanout
from camd.runtime.folder_lock import FolderInUseError, open_state
from camd.runtime.pipe_poller import open_pipe_poller
from camd.server.listeners import ListenError
from camd.server.server import open_server
from camd.service_signals import ServiceSignals
from camd.storage.check.scrub import open_scrub
from camd.storage.retention.cleanup import open_retention
from camd.storage.storage import open_storage

log = structlog.get_logger("camd.daemon")

EX_CONFIG = 78  # sysexits.h: systemd does not start us again with it


async def serve(config: Config, config_path: Path | None, orders: ServiceSignals) -> None:
    """Run everything until there is an order to stop.

    Raises ListenError, FolderInUseError, ConfigError before it began.
    """
    orders.attach()
    events, sockets = Fanout[Event](), fd_limits.for_sockets(fd_limits.raise_limit())
    with orders.abandoning():
        async with (
            open_state(config.storage.state_dir),
            open_authenticator(config.auth, config.storage.state_dir) as access,
            open_storage(config.storage, events) as storage,
            open_monitor(discovery_config(config), query=read_capabilities) as monitor,
            open_pipe_poller() as pipes,
        ):
            orders.keep()
            async with open_cameras(config, storage, events, monitor, pipes) as cameras:
                live = LiveConfig(config, config_path, cameras, storage)
                await serve_clients(live, access, events, orders, sockets)
    log.info("stopped")


async def serve_clients(
    live: LiveConfig,
    access: Authenticator,
    events: Fanout[Event],
    orders: ServiceSignals,
    sockets: int,
) -> None:
    """Do what is done for clients and in the background, until there is an order to stop.

    At most so many sockets are open at a time.
    """
    config, cameras, storage = live.config, live.cameras, live.storage
    state_dir, notifications = config.storage.state_dir, Fanout[Notification]()
    with orders.abandoning():
        async with (
            open_retention(
                *(config.retention, state_dir, storage, events, cameras.newest_files)
            ) as retention,
            open_scrub(config.scrub, storage, state_dir, events) as scrub,
        ):
            system = SystemApi(cameras, storage, live.reload, scrub)
            apis = (
                *(system, CamerasApi(cameras), RecordingsApi(cameras, storage)),
                *(StorageApi(storage), HistoryApi(cameras, storage), FilesApi(storage)),
                *(RetentionApi(retention), ControlsApi(cameras), DevicesApi(cameras)),
            )
            web = HttpApp(storage, access, system.health)
            with EventPublisher(notifications).listening(events):
                async with open_server(
                    config.server,
                    registry=Registry(apis),
                    authenticator=access,
                    notifications=notifications,
                    app=web.app(),
                    inherited=systemd.inherited_sockets(os.environ),
                    legacy_dialect=config.auth.legacy_dialect,
                    max_sockets=sockets,
                ) as front:
                    orders.keep()
                    web.ready = True
                    gc.freeze()  # what is here now stays; the collector need not look at it again
                    systemd.notify(f"READY=1\nSTATUS=Serving on {', '.join(front.addresses)}")
                    await carry_out(orders, live)
                    systemd.notify("STOPPING=1")


async def carry_out(orders: ServiceSignals, live: LiveConfig) -> None:
    """Return when there is an order to stop; reload and feed the watchdog meanwhile."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed_watchdog)
        nursery.start_soon(_reload_when_told, orders, live)
        await orders.wait_stop()
        nursery.cancel_scope.cancel()


async def _reload_when_told(orders: ServiceSignals, live: LiveConfig) -> None:
    while True:
        await orders.wait_reload()
        try:
            await live.reload()
        except Refusal as refusal:
            mistakes = refusal.details.get("errors", ())
            log.error("configuration_refused", why=refusal.message, mistakes=mistakes)


async def feed_watchdog() -> None:
    """Tell systemd that the event loop turns, twice in each of its periods."""
    period = systemd.watchdog_seconds(os.environ)
    while period is not None:
        systemd.notify("WATCHDOG=1")
        await trio.sleep(period / 2)


def run_daemon(config_path: Path | None) -> int:
    """Run the daemon in this process; returns its exit status: 0, 1, or 78 for a bad config."""
    stream = NonBlockingStream(sys.stderr.fileno())
    orders = ServiceSignals(stream.drain)
    orders.receive()
    set_up_logging(os.environ.get("CAMD_LOG_LEVEL", "info"), stream=stream)
    faulthandler.enable()  # the watchdog's SIGABRT leaves a traceback
    try:
        config = load_config(config_path, dict(os.environ))
        log.info("starting", version=__version__, config=str(config.file or "defaults"))
        boot_id()  # read before the event loop runs, which opens no files
        trio.run(serve, config, config_path, orders)
    except (ConfigError, ListenError, FolderInUseError, BaseExceptionGroup) as error:
        cause = _only(error)
        if not isinstance(cause, (ConfigError, ListenError, FolderInUseError)):
            raise
        stream.drain(DRAIN_SECONDS)
        print(f"camd: {cause}", file=sys.stderr)  # noqa: T201 - for whoever started us by hand
        return EX_CONFIG if isinstance(cause, ConfigError) else 1
    return 0


def _only(error: BaseException) -> BaseException:
    """Unwrap the groups that nurseries put around a single error."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
