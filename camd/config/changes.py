"""Which changes of the configuration a running service takes, and which need a restart."""

from __future__ import annotations

from collections.abc import Collection

import attrs

from camd.config.environment import SECTIONS
from camd.config.schema import CameraConfig, Config
from camd.model import V4l2Source

_SECTIONS = tuple(SECTIONS)
_LIVE = frozenset(
    {
        "recording.answer_timeout",
        "recording.format",
        "recording.max_file_size",
        "recording.rotation",
        "storage.block_percent",
        "storage.warn_percent",
    }
)


@attrs.frozen
class ConfigChanges:
    """Paths of changed keys (`recording.rotation`, `camera.gate`); never their values."""

    applied: tuple[str, ...] = ()
    restart_needed: tuple[str, ...] = ()


def compare(old: Config, new: Config) -> ConfigChanges:
    """Return what differs, split by whether it can be applied while the service runs."""
    changed = [path for section in _SECTIONS for path in _changed_keys(old, new, section)]
    before = {camera.id: camera for camera in old.cameras}
    after = {camera.id: camera for camera in new.cameras}
    added = [f"camera.{camera.id}" for camera in new.cameras if _is_taken(old, camera)]
    waiting = [f"camera.{name}" for name in after if name not in before]
    waiting = [path for path in waiting if path not in added]
    others = [f"camera.{name}" for name in before if after.get(name) != before[name]]
    return ConfigChanges(
        applied=tuple([path for path in changed if path in _LIVE] + added),
        restart_needed=tuple([path for path in changed if path not in _LIVE] + others + waiting),
    )


def postpone(changes: ConfigChanges, cameras: Collection[str]) -> ConfigChanges:
    """Return what is the case when these new cameras have to wait for a restart."""
    waiting = [f"camera.{name}" for name in cameras]
    return ConfigChanges(
        applied=tuple(path for path in changes.applied if path not in waiting),
        restart_needed=(*changes.restart_needed, *waiting),
    )


def merge(old: Config, new: Config) -> Config:
    """Return what runs after a reload: `old` with all of `new` that `compare` calls applied."""
    merged = old
    for path in sorted(_LIVE):
        section, key = path.split(".")
        value = getattr(getattr(new, section), key)
        part = attrs.evolve(getattr(merged, section), **{key: value})
        merged = attrs.evolve(merged, **{section: part})
    added = tuple(camera for camera in new.cameras if _is_taken(old, camera))
    return attrs.evolve(merged, cameras=old.cameras + added)


def _is_taken(old: Config, camera: CameraConfig) -> bool:
    """Tell whether a running service takes a camera: a new one that it is able to find."""
    if any(camera.id == known.id for known in old.cameras):
        return False
    looks = old.discovery.v4l2 or any(isinstance(c.source, V4l2Source) for c in old.cameras)
    return looks or not isinstance(camera.source, V4l2Source)


def _changed_keys(old: Config, new: Config, section: str) -> list[str]:
    before, after = getattr(old, section), getattr(new, section)
    if before is None or after is None:
        return [] if before is after else [section]
    names = [field.name for field in attrs.fields(type(before))]
    return [f"{section}.{name}" for name in names if getattr(before, name) != getattr(after, name)]
