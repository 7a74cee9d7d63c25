"""The controls that clients have set, kept over restarts in `state_dir/controls.json`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import attrs
import msgspec
import structlog
import trio

from camd.errors import INTERNAL_ERROR, Refusal
from camd.model import CameraId
from camd.runtime.replace import replace_file, set_aside

log = structlog.get_logger("camd.controls")

WISHES = "controls.json"

Values = dict[str, int | str]  # by the control's name


@attrs.define(eq=False)
class ControlStore:
    """What is kept, of all cameras. `save` makes a text durable: it blocks, may raise OSError."""

    _save: Callable[[str], None] = lambda text: None
    _kept: dict[str, Values] = attrs.field(factory=dict)
    _one: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    def of(self, camera_id: CameraId) -> Mapping[str, int | str]:
        """Return what is kept of one camera."""
        return self._kept.get(camera_id, {})

    async def keep(self, camera_id: CameraId, name: str, value: int | str | None) -> None:
        """Keep a value, None: forget it. Durable when this returns. Raises Refusal."""
        async with self._one:
            values = {**self.of(camera_id), name: value}
            if value is None and name not in self.of(camera_id):
                return
            kept = {name: value for name, value in values.items() if value is not None}
            everything = {**self._kept, camera_id: kept}
            everything = {camera: values for camera, values in everything.items() if values}
            try:
                await self._replace(everything)
            except OSError as error:
                raise Refusal(
                    INTERNAL_ERROR,
                    f"The camera has the setting, but it cannot be kept: {error.strerror}",
                    suggestion="Check the state folder; the setting is lost at the next start.",
                ) from error

    async def forget(self, camera_id: CameraId) -> None:
        """Forget all that is kept of a camera: another one may have its id next."""
        async with self._one:
            if camera_id not in self._kept:
                return
            others = {camera: v for camera, v in self._kept.items() if camera != camera_id}
            try:
                await self._replace(others)
            except OSError as error:
                log.error("controls_not_forgotten", camera=camera_id, error=str(error))

    async def _replace(self, everything: dict[str, Values]) -> None:
        text = msgspec.json.format(msgspec.json.encode(everything)).decode() + "\n"
        await trio.to_thread.run_sync(self._save, text)
        self._kept = everything


def load_controls(state_dir: Path) -> ControlStore:
    """Read what is kept; a file that cannot be understood is set aside. Blocks; never fails."""
    path = state_dir / WISHES
    kept: dict[str, Values] = {}
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=dict[str, Values])
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
        log.error("controls_unreadable", file=str(path), error=str(error))
        _set_aside(path)
    return ControlStore(partial(_store, path), kept)


def _store(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text)


def _set_aside(path: Path) -> None:
    try:
        aside = set_aside(path)
    except OSError as error:
        log.error("controls_not_set_aside", file=str(path), error=str(error))
    else:
        log.warning("controls_set_aside", file=str(aside))
