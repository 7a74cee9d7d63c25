"""Which changes of the configuration a running service applies, and which need a restart."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import attrs

from camd.config.keys import config_keys_of
from camd.config.schema import SECTIONS, CameraConfig, Config


@attrs.frozen
class ConfigChanges:
    """Paths of changed keys (`recording.rotation`, `camera.camera0`); never their values."""

    applied: tuple[str, ...] = ()
    restart_needed: tuple[str, ...] = ()


def compare(old: Config, new: Config) -> ConfigChanges:
    """Return what differs, split by whether a running service can apply it."""
    changed = [path for section in SECTIONS for path in _changed_keys(old, new, section)]
    live = {f"{section}.{name}" for section, name in _live_keys()} | set(_live_sections())
    cameras, waiting = _changed_cameras(old, new)
    schedules = _changed_schedules(old, new)
    return ConfigChanges(
        applied=tuple([path for path in changed if path in live] + cameras + schedules),
        restart_needed=tuple([path for path in changed if path not in live] + waiting),
    )


def postpone(changes: ConfigChanges, cameras: Collection[str]) -> ConfigChanges:
    """Move the changes of these cameras from the applied ones to those that need a restart."""
    waiting = [f"camera.{name}" for name in cameras]
    return ConfigChanges(
        applied=tuple(path for path in changes.applied if path not in waiting),
        restart_needed=(*changes.restart_needed, *waiting),
    )


def merge(old: Config, new: Config) -> Config:
    """Return `old` with all changes that `compare` calls applied: what runs after a reload."""
    merged = old
    for section in _live_sections():
        merged = attrs.evolve(merged, **{section: getattr(new, section)})
    for section, name in _live_keys():
        part = getattr(merged, section)
        if part is not None:
            part = attrs.evolve(part, **{name: getattr(getattr(new, section), name)})
            merged = attrs.evolve(merged, **{section: part})
    before = {camera.id: camera for camera in old.cameras}
    taken = [one if _can_take(old, one) else before.get(one.id) for one in new.cameras]
    cameras = tuple(camera for camera in taken if camera is not None)
    return attrs.evolve(merged, cameras=cameras, schedules=new.schedules)


def _changed_schedules(old: Config, new: Config) -> list[str]:
    """Name the schedules that are new, changed or gone; a running service applies them all."""
    before = {schedule.name: schedule for schedule in old.schedules}
    after = {schedule.name: schedule for schedule in new.schedules}
    names = dict.fromkeys((*before, *after))
    return [f"schedule.{name}" for name in names if before.get(name) != after.get(name)]


def _changed_cameras(old: Config, new: Config) -> tuple[list[str], list[str]]:
    """Name the cameras that are new, changed or gone: those to be taken now, and the others."""
    before = {camera.id: camera for camera in old.cameras}
    after = {camera.id: camera for camera in new.cameras}
    names = dict.fromkeys((*before, *after))
    changed = [name for name in names if before.get(name) != after.get(name)]
    taken = [name for name in changed if name not in after or _can_take(old, after[name])]
    return (
        [f"camera.{name}" for name in taken],
        [f"camera.{name}" for name in changed if name not in taken],
    )


def _can_take(old: Config, camera: CameraConfig) -> bool:
    """Whether a running service can take a camera: one of a kind that it looks for."""
    looks = old.discovery.v4l2 or any(known.source.selector for known in old.cameras)
    return looks or camera.source.selector is None


def _live_keys() -> Iterator[tuple[str, str]]:
    """Yield section and name of each key that a running service can change."""
    for section, cls in SECTIONS.items():
        yield from ((section, name) for name, key in config_keys_of(cls).items() if key.reload)


def _live_sections() -> Iterator[str]:
    """Yield the sections that a running service can take in whole, also where there was none."""
    for section, cls in SECTIONS.items():
        if all(key.reload for key in config_keys_of(cls).values()):
            yield section


def _changed_keys(old: Config, new: Config, section: str) -> list[str]:
    before, after = getattr(old, section), getattr(new, section)
    if before is None or after is None:
        return [] if before is after else [section]
    names = config_keys_of(SECTIONS[section])
    return [f"{section}.{name}" for name in names if getattr(before, name) != getattr(after, name)]
