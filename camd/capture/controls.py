"""One camera's controls: what the configuration and clients wish for, and the way to its driver.

The driver is asked in a thread, with patience: an ioctl may hang for minutes, and cannot be
interrupted. A thread that hangs is left alone, and until it has come back nothing else is asked
of that camera. Other cameras have other threads.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import attrs
import msgspec
import structlog
import trio

from camd.devices.query import read_controls, write_control
from camd.devices.v4l2.control_values import (
    Given,
    driver_value,
    find_control,
    in_order,
    known_as,
    possible,
)
from camd.errors import (
    INTERNAL_ERROR,
    SOURCE_UNAVAILABLE,
    UNSUPPORTED,
    ParamError,
    Refusal,
    invalid_params,
)
from camd.model import CameraId, Control, ControlKind
from camd.runtime.files import replace_file, set_aside

# --- The controls that clients have set, kept over restarts in `state_dir/controls.json`.

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


# --- One camera's controls: what the configuration and clients wish for, and the way to its driver.

T = TypeVar("T")

PATIENCE_SECONDS = 5.0
CONFIGURATION, CLIENT = "configuration", "client"

_PASSING = (errno.EACCES, errno.EBUSY)  # of a control: inactive, locked
_PROBLEMS: dict[int, tuple[str, str]] = {
    errno.ENOENT: ("not_found", "The camera is not there"),
    errno.ENODEV: ("not_found", "The camera is not there"),
    errno.ENXIO: ("not_found", "The camera is not there"),
    errno.EACCES: ("no_permission", "The service may not open the camera"),
    errno.EPERM: ("no_permission", "The service may not open the camera"),
    errno.EBUSY: ("busy", "Another program uses the camera"),
}
_HUNG = "The camera's driver does not answer"


@attrs.frozen
class WantedControl:
    """A value that a control is to have, and who wants it so: configuration or client."""

    value: int | str
    source: str


@attrs.define(eq=False)
class _Call:
    """A call in a thread; `running` changes in that thread."""

    running: bool = False

    def run(self, work: Callable[[], T]) -> T:
        self.running = True
        try:
            return work()
        finally:
            self.running = False


@attrs.define(eq=False)
class CameraControls:
    """The owner of one camera's wished controls."""

    camera_id: CameraId
    _configured: Sequence[tuple[str, int | str]]
    _kept: ControlStore = attrs.field(factory=ControlStore)
    _read: Callable[[Path], tuple[Control, ...]] = read_controls
    _write: Callable[[Path, Control, int | str], Control] = write_control
    _patience_seconds: float = PATIENCE_SECONDS
    _left: _Call | None = attrs.field(default=None, init=False)  # the call that was left alone
    _one: trio.CapacityLimiter = attrs.field(factory=partial(trio.CapacityLimiter, 1), init=False)
    _changing: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    # --- wishes ---

    def wishes(self) -> dict[str, WantedControl]:
        """Return all wishes, by the name that a control's older and newer names share."""
        configured = {known_as(n): WantedControl(v, CONFIGURATION) for n, v in self._configured}
        kept = self._kept.of(self.camera_id)
        return configured | {known_as(n): WantedControl(v, CLIENT) for n, v in kept.items()}

    def wish_for(self, control: Control) -> WantedControl | None:
        """Return the wish for one control, as the driver takes it where that can be said."""
        wish = self.wishes().get(known_as(control.name))
        if wish is None:
            return None
        try:
            return attrs.evolve(wish, value=driver_value(control, wish.value))
        except ValueError:
            return wish

    # --- what others call ---

    async def read(self, node: Path) -> tuple[Control, ...]:
        """List the camera's controls as they are now; bounded. Raises Refusal."""
        return await self._ask(lambda: self._read(node))

    async def change(self, node: Path, name: str, value: Given | None) -> Control:
        """Set a control and keep the value; returns the control as the driver has it then.

        None forgets what clients have set: the configuration's value comes back, or else the
        driver's default. The driver's part is bounded; kept durably when this returns.
        Raises Refusal.
        """
        async with self._changing:
            if value is None:
                return await self._forget(node, name)
            control, wanted = await self._ask(lambda: self._set(node, name, value))
            if control.kind is not ControlKind.BUTTON:
                await self._kept.keep(self.camera_id, known_as(control.name), wanted)
        log.info("control_set", camera=self.camera_id, control=control.name, value=control.value)
        return control

    async def apply(self, node: Path) -> tuple[str, ...]:
        """Give the camera all wishes; returns a sentence for each that it did not take.

        Bounded. Raises nothing: a camera records without them as well.
        """
        wishes = self.wishes()
        if not wishes:
            return ()
        try:
            return await self._ask(lambda: self._apply(node, wishes))
        except Refusal as refusal:
            return (f"{refusal.message}; its controls are not set",)

    async def _forget(self, node: Path, name: str) -> Control:
        control = await self._ask(lambda: _found(self._read(node), name))
        await self._kept.keep(self.camera_id, known_as(control.name), None)
        log.info("control_forgotten", camera=self.camera_id, control=control.name)
        return await self._ask(lambda: self._reset(node, control))

    # --- in the thread ---

    def _set(self, node: Path, name: str, value: Given) -> tuple[Control, int | str]:
        control = _found(self._read(node), name)
        if control.read_only:
            raise Refusal(UNSUPPORTED, f"{control.name} can only be read", control=control.name)
        try:
            wanted = driver_value(control, value)
        except ValueError as error:
            raise invalid_params(ParamError("value", str(error))) from None
        try:
            return self._write(node, control, wanted), wanted
        except OSError as error:
            refusal = _declined(control, error)
            if refusal is None:
                raise
            raise refusal from error

    def _reset(self, node: Path, control: Control) -> Control:
        """Give a control the value that it has without clients, if there is one."""
        wish = self.wish_for(control)
        settable = control.kind not in (ControlKind.STRING, ControlKind.BUTTON)
        if control.read_only or (wish is None and not settable):
            return control
        try:
            return self._write(node, control, control.default if wish is None else wish.value)
        except OSError as error:
            if error.filename is None and error.errno in _PASSING:
                return control  # while it has no effect, nothing is lost
            raise

    def _apply(self, node: Path, wishes: Mapping[str, WantedControl]) -> tuple[str, ...]:
        controls = self._read(node)
        sentences: list[str] = []
        wanted: list[tuple[Control, int | str]] = []
        for name, wish in in_order(wishes.items()):
            try:
                control = find_control(controls, name)
                if control.kind is ControlKind.BUTTON or control.read_only:
                    raise ValueError("is a button, or can only be read: there is nothing to keep")
                wanted.append((control, driver_value(control, wish.value)))
            except ValueError as error:
                sentences.append(f"{name} {error}")
        again = [each for each in wanted if self._refused(node, *each, sentences=sentences)]
        for control, value in again:  # what was set since may have made them active
            if self._refused(node, control, value, sentences=sentences):
                sentences.append(f"{control.name} has no effect or is locked at present")
        return tuple(sentences)

    def _refused(
        self, node: Path, control: Control, value: int | str, *, sentences: list[str]
    ) -> bool:
        """Whether a control is inactive or locked. Other failures get their sentence at once."""
        try:
            written = self._write(node, control, value)
        except OSError as error:
            refusal = _declined(control, error)
            if refusal is None:
                raise
            if error.errno in _PASSING:
                return True
            sentences.append(refusal.message)
            return False
        if written.value not in (value, None) and not written.inactive:
            sentences.append(f"{control.name} was set to {value}, and is {written.value}")
        return False

    # --- the thread ---

    async def _ask(self, work: Callable[[], T]) -> T:
        """Do `work` in the camera's one thread. Raises Refusal, soon or after the patience."""
        if self._left is not None and self._left.running:
            raise self._hung()
        call = _Call()
        try:
            with trio.move_on_after(self._patience_seconds):
                return await trio.to_thread.run_sync(
                    partial(call.run, work), limiter=self._one, abandon_on_cancel=True
                )
        except OSError as error:
            cause, message = _PROBLEMS.get(
                error.errno or 0, ("io_error", f"The camera reported an error: {error.strerror}")
            )
            raise self._unavailable(cause, message) from error
        finally:
            if call.running:
                self._left = call
        log.warning("driver_hangs", camera=self.camera_id)
        raise self._hung()

    def _hung(self) -> Refusal:
        return self._unavailable("hung", _HUNG)

    def _unavailable(self, cause: str, message: str) -> Refusal:
        return Refusal(SOURCE_UNAVAILABLE, message, cause=cause, camera_id=self.camera_id)


def _found(controls: Sequence[Control], name: str) -> Control:
    try:
        return find_control(controls, name)
    except ValueError as error:
        names = [control.name for control in controls]
        message = f"{name[:80]} {error}"
        raise Refusal(UNSUPPORTED, message, control=name[:80], controls=names) from None


def _declined(control: Control, error: OSError) -> Refusal | None:
    """Say that a driver did not take a value; None when the trouble is not about the value."""
    if error.filename is not None:
        return None  # the node could not be opened
    name, takes = control.name, possible(control)
    match error.errno:
        case errno.EACCES:
            return Refusal(
                UNSUPPORTED,
                f"{name} has no effect at present, because of another control",
                suggestion="Switch the automatic mode off that it belongs to.",
                cause="inactive",
                control=name,
            )
        case errno.EBUSY:
            return Refusal(
                SOURCE_UNAVAILABLE,
                f"{name} is locked at present",
                suggestion="Try again when the camera is not in use.",
                cause="busy",
                control=name,
            )
        case errno.EINVAL | errno.ERANGE:
            message = f"The camera does not take this value for {name}, which must be {takes}"
            return Refusal(UNSUPPORTED, message, control=name, possible=takes)
    return None
