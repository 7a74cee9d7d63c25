"""The whole daemon: what it consists of, in the order in which it starts; it stops in reverse."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
import threading
from pathlib import Path

import structlog
import trio

from camd import __version__, systemd
from camd.access.authenticator import open_access
from camd.api.cameras import CamerasApi
from camd.api.controls import ControlsApi
from camd.api.devices import DevicesApi
from camd.api.events import Announcer
from camd.api.files import FilesApi
from camd.api.history import HistoryApi
from camd.api.recordings import RecordingsApi
from camd.api.retention import RetentionApi
from camd.api.storage import StorageApi
from camd.api.system import SystemApi
from camd.api.web import Web
from camd.camera.roster import open_cameras
from camd.config.load import load_config
from camd.config.schema import Config
from camd.devices.listing import watched
from camd.devices.survey import open_survey
from camd.devices.v4l2 import read_capabilities
from camd.errors import ConfigError, Refusal
from camd.front.listen import ListenError
from camd.front.server import open_front
from camd.logs import set_up_logging
from camd.model import Event
from camd.reload import LiveConfig
from camd.rpc.notification import Notification
from camd.rpc.registry import Registry
from camd.runtime.fanout import Fanout
from camd.runtime.pipes import open_pipes
from camd.storage.actor import open_storage
from camd.storage.archive import FolderInUseError
from camd.storage.cleanup import open_retention
from camd.storage.patrol import open_patrol

log = structlog.get_logger("camd.daemon")

EX_CONFIG = 78  # sysexits.h: systemd does not start us again with it
STOP_SECONDS = 28  # below TimeoutStopSec; a disk that hangs must not keep the process for ever


async def serve(config: Config, config_path: Path | None) -> None:
    """Run everything until a signal says stop.

    Raises ListenError, FolderInUseError, ConfigError before it began.
    """
    events, notifications = Fanout[Event](), Fanout[Notification]()
    async with (
        open_access(config.auth, config.storage.state_dir) as access,
        open_storage(config.storage, events) as storage,
        open_survey(watched(config), query=read_capabilities) as survey,
        open_pipes() as pipes,
        open_cameras(config, storage, events, survey, pipes) as cameras,
        open_retention(
            *(config.retention, config.storage.state_dir, storage, events, cameras.newest_files)
        ) as retention,
        open_patrol(config.patrol, storage, config.storage.state_dir, events) as patrol,
    ):
        live = LiveConfig(config, config_path, cameras, storage)
        system = SystemApi(cameras, storage, live.reload, patrol)
        nouns = (
            *(system, CamerasApi(cameras), RecordingsApi(cameras, storage), StorageApi(storage)),
            *(HistoryApi(cameras, storage), FilesApi(storage), RetentionApi(retention)),
            *(ControlsApi(cameras), DevicesApi(cameras)),
        )
        web = Web(storage, access, system.health)
        with Announcer(notifications).listening(events):
            async with open_front(
                config.server,
                registry=Registry(method for noun in nouns for method in noun.methods()),
                authenticator=access,
                notifications=notifications,
                app=web.app(),
                inherited=systemd.inherited_sockets(os.environ),
                legacy_dialect=config.auth.legacy_dialect,
            ) as front:
                web.ready = True
                gc.freeze()  # what is here now stays; the collector need not look at it again
                systemd.notify(f"READY=1\nSTATUS=Serving on {', '.join(front.addresses)}")
                await wait_for_stop(live)
                systemd.notify("STOPPING=1")
    log.info("stopped")


async def wait_for_stop(live: LiveConfig) -> None:
    """Return when SIGTERM or SIGINT comes; SIGHUP reloads; the watchdog is fed meanwhile."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed_watchdog)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                if number != signal.SIGHUP:
                    log.info("stopping", signal=signal.Signals(number).name)
                    break
                try:
                    await live.reload()
                except Refusal as refusal:
                    log.error("configuration_refused", mistakes=refusal.details["errors"])
        nursery.cancel_scope.cancel()
    _bound_the_stop()


def _bound_the_stop() -> None:
    """End the process whatever hangs: when it takes too long, or when a second signal comes.

    Nothing needs us for that: growing files play as they are, and children end with us.
    """

    def end_now(number: int, _: object) -> None:
        log.warning("stopped_at_once", signal=signal.Signals(number).name)
        os._exit(1)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end_now)
    last_resort = threading.Timer(STOP_SECONDS, os._exit, (1,))
    last_resort.daemon = True
    last_resort.start()


async def feed_watchdog() -> None:
    """Tell systemd that the event loop turns, twice in each of its periods."""
    period = systemd.watchdog_seconds(os.environ)
    while period is not None:
        systemd.notify("WATCHDOG=1")
        await trio.sleep(period / 2)


def run_daemon(config_path: Path | None) -> int:
    """Run the daemon in this process; returns its exit status: 0, 1, or 78 for a bad config."""
    set_up_logging(os.environ.get("CAMD_LOG_LEVEL", "info"))
    faulthandler.enable()  # the watchdog's SIGABRT leaves a traceback
    try:
        config = load_config(config_path, dict(os.environ))
        log.info("starting", version=__version__, config=str(config.file or "defaults"))
        trio.run(serve, config, config_path)
    except (ConfigError, ListenError, FolderInUseError, BaseExceptionGroup) as error:
        cause = _only(error)
        if not isinstance(cause, (ConfigError, ListenError, FolderInUseError)):
            raise
        print(f"camd: {cause}", file=sys.stderr)  # noqa: T201 - for whoever started us by hand
        return EX_CONFIG if isinstance(cause, ConfigError) else 1
    return 0


def _only(error: BaseException) -> BaseException:
    """Unwrap the groups that nurseries put around a single error."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
