"""Camera controls (exposure, focus, gain): stores the wanted values, and sets them on the camera.

Wanted values come from the configuration and from clients; those of clients are stored in
`controls.json` and win. The driver is called in a thread with a timeout: an ioctl may hang for
minutes and cannot be interrupted. A thread that hangs is abandoned, and until it returns all other
calls for that camera are refused. Each camera has its own thread.
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
from camd.devices.v4l2 import node_errors
from camd.devices.v4l2.control_values import (
    RequestedValue,
    canonical_name,
    driver_value,
    find_control,
    modes_first,
    possible,
)
from camd.errors import (
    INTERNAL_ERROR,
    SOURCE_UNAVAILABLE,
    UNSUPPORTED,
    ParamMistake,
    Refusal,
    invalid_params,
)
from camd.model import CameraId, Control, ControlKind, Problem, ProblemKind
from camd.model.problems import HUNG
from camd.runtime.state_file import StateFile

log = structlog.get_logger("camd.controls")

# --- the store of what clients have set ---------------------------------------------------

CONTROLS_FILE = "controls.json"

Values = dict[str, int | str]  # by the control's name


@attrs.define(eq=False)
class ControlStore:
    """The values that clients have set, of all cameras.

    `save` writes them durably; it blocks and may raise OSError.
    """

    _save: Callable[[dict[str, Values]], object] = lambda values: None
    _values: dict[str, Values] = attrs.field(factory=dict)  # by camera id
    _lock: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    def of(self, camera_id: CameraId) -> Mapping[str, int | str]:
        """Return the values of one camera."""
        return self._values.get(camera_id, {})

    async def keep(self, camera_id: CameraId, name: str, value: int | str | None) -> None:
        """Store a value durably; None deletes it. Raises Refusal."""
        async with self._lock:
            if value is None and name not in self.of(camera_id):
                return
            values = {**self.of(camera_id), name: value}
            left = {name: value for name, value in values.items() if value is not None}
            try:
                await self._replace({**self._values, camera_id: left})
            except OSError as error:
                raise Refusal(
                    INTERNAL_ERROR,
                    f"The camera has the setting, but it cannot be kept: {error.strerror}",
                    suggestion="Check the state folder; the setting is lost at the next start.",
                ) from error

    async def forget(self, camera_id: CameraId) -> None:
        """Delete all values of a camera: another one may get its id."""
        async with self._lock:
            if camera_id not in self._values:
                return
            try:
                await self._replace({**self._values, camera_id: {}})
            except OSError as error:
                log.error("controls_not_forgotten", camera=camera_id, error=str(error))

    async def _replace(self, everything: dict[str, Values]) -> None:
        values = {camera: values for camera, values in everything.items() if values}
        await trio.to_thread.run_sync(self._save, values)
        self._values = values


def load_controls(state_dir: Path) -> ControlStore:
    """Read the stored values; a damaged file is renamed. Blocks. Never raises OSError."""
    file = StateFile(state_dir / CONTROLS_FILE, _parse, _render)
    return ControlStore(file.save, file.load() or {})


def _parse(text: str) -> dict[str, Values]:
    return msgspec.json.decode(text, type=dict[str, Values])


def _render(kept: dict[str, Values]) -> str:
    return msgspec.json.format(msgspec.json.encode(kept)).decode() + "\n"


# --- the controls of one camera -----------------------------------------------------------

T = TypeVar("T")

DRIVER_TIMEOUT_SECONDS = 5.0
CONFIGURATION, CLIENT = "configuration", "client"

_NOT_NOW = (errno.EACCES, errno.EBUSY)  # of writing a control: inactive, locked


@attrs.frozen
class WantedControl:
    """The value that a control should have, and where it comes from: configuration or client."""

    value: int | str
    source: str


@attrs.define(eq=False)
class _DriverCall:
    """A driver call; `running` changes in its thread."""

    running: bool = False

    def run(self, work: Callable[[], T]) -> T:
        self.running = True
        try:
            return work()
        finally:
            self.running = False


@attrs.define(eq=False)
class CameraControls:
    """One camera's controls: the wanted values, and the calls to its driver."""

    camera_id: CameraId
    _configured: Sequence[tuple[str, int | str]]
    _store: ControlStore = attrs.field(factory=ControlStore)
    _read: Callable[[Path], tuple[Control, ...]] = read_controls
    _write: Callable[[Path, Control, int | str], Control] = write_control
    _timeout_seconds: float = DRIVER_TIMEOUT_SECONDS
    _abandoned: _DriverCall | None = attrs.field(default=None, init=False)
    _thread: trio.CapacityLimiter = attrs.field(
        factory=partial(trio.CapacityLimiter, 1), init=False
    )
    _changing: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    def wanted(self) -> dict[str, WantedControl]:
        """Return all wanted values, by canonical control name."""
        configured = {
            canonical_name(n): WantedControl(v, CONFIGURATION) for n, v in self._configured
        }
        stored = self._store.of(self.camera_id)
        return configured | {canonical_name(n): WantedControl(v, CLIENT) for n, v in stored.items()}

    def wanted_for(self, control: Control) -> WantedControl | None:
        """Return the wanted value of one control, as the driver takes it if it is possible."""
        wanted = self.wanted().get(canonical_name(control.name))
        if wanted is None:
            return None
        try:
            return attrs.evolve(wanted, value=driver_value(control, wanted.value))
        except ValueError:
            return wanted

    async def read(self, node: Path) -> tuple[Control, ...]:
        """Read the camera's controls, within the timeout. Raises Refusal."""
        return await self._call(lambda: self._read(node))

    async def change(self, node: Path, name: str, value: RequestedValue | None) -> Control:
        """Set a control and store the value durably; returns the control as the driver has it now.

        None deletes the stored value and sets the configured one, or the driver's default. The
        driver has the timeout; the disk has none. Raises Refusal.
        """
        async with self._changing:
            if value is None:
                return await self._forget(node, name)
            control, wanted = await self._call(lambda: self._set(node, name, value))
            if control.kind is not ControlKind.BUTTON:
                await self._store.keep(self.camera_id, canonical_name(control.name), wanted)
        log.info("control_set", camera=self.camera_id, control=control.name, value=control.value)
        return control

    async def apply(self, node: Path) -> tuple[str, ...]:
        """Set all wanted values, within the timeout; returns a sentence for each that was not set.

        Raises no Refusal: a camera can record without them.
        """
        wanted = self.wanted()
        if not wanted:
            return ()
        try:
            return await self._call(lambda: self._apply(node, wanted))
        except Refusal as refusal:
            return (f"{refusal.message}; its controls are not set",)

    async def _forget(self, node: Path, name: str) -> Control:
        control = await self._call(lambda: _found(self._read(node), name))
        await self._store.keep(self.camera_id, canonical_name(control.name), None)
        log.info("control_reset", camera=self.camera_id, control=control.name)
        return await self._call(lambda: self._reset(node, control))

    # --- what runs in the thread ---

    def _set(self, node: Path, name: str, value: RequestedValue) -> tuple[Control, int | str]:
        control = _found(self._read(node), name)
        if control.read_only:
            raise Refusal(UNSUPPORTED, f"{control.name} can only be read", control=control.name)
        try:
            wanted = driver_value(control, value)
        except ValueError as error:
            raise invalid_params(ParamMistake("value", str(error))) from None
        try:
            return self._write(node, control, wanted), wanted
        except OSError as error:
            refusal = _declined(control, error)
            if refusal is None:
                raise
            raise refusal from error

    def _reset(self, node: Path, control: Control) -> Control:
        """Set the configured value of a control, or its default, if there is one."""
        wanted = self.wanted_for(control)
        settable = control.kind not in (ControlKind.STRING, ControlKind.BUTTON)
        if control.read_only or (wanted is None and not settable):
            return control
        try:
            return self._write(node, control, control.default if wanted is None else wanted.value)
        except OSError as error:
            if error.filename is None and error.errno in _NOT_NOW:
                return control  # the value has no effect now
            raise

    def _apply(self, node: Path, wanted: Mapping[str, WantedControl]) -> tuple[str, ...]:
        controls = self._read(node)
        sentences: list[str] = []
        values: list[tuple[Control, int | str]] = []
        for name, value in modes_first((name, one.value) for name, one in wanted.items()):
            try:
                control = find_control(controls, name)
                if control.kind is ControlKind.BUTTON or control.read_only:
                    raise ValueError("is a button, or can only be read: there is nothing to keep")
                values.append((control, driver_value(control, value)))
            except ValueError as error:
                sentences.append(f"{name} {error}")
        again = [each for each in values if self._is_refused(node, *each, sentences=sentences)]
        for control, number in again:  # another control may have made it active
            if self._is_refused(node, control, number, sentences=sentences):
                sentences.append(f"{control.name} has no effect or is locked at present")
        return tuple(sentences)

    def _is_refused(
        self, node: Path, control: Control, value: int | str, *, sentences: list[str]
    ) -> bool:
        """Write a value; return whether the control is inactive or locked at the moment.

        Other failures are added to `sentences`.
        """
        try:
            written = self._write(node, control, value)
        except OSError as error:
            refusal = _declined(control, error)
            if refusal is None:
                raise
            if error.errno in _NOT_NOW:
                return True
            sentences.append(refusal.message)
            return False
        if written.value not in (value, None) and not written.inactive:
            sentences.append(f"{control.name} was set to {value}, and is {written.value}")
        return False

    async def _call(self, work: Callable[[], T]) -> T:
        """Run `work` in the camera's thread. Raises Refusal, at the latest after the timeout."""
        if self._abandoned is not None and self._abandoned.running:
            raise self._unavailable(HUNG)
        call = _DriverCall()
        try:
            with trio.move_on_after(self._timeout_seconds):
                return await trio.to_thread.run_sync(
                    partial(call.run, work), limiter=self._thread, abandon_on_cancel=True
                )
        except OSError as error:
            raise self._unavailable(node_errors.describe_error(error)) from error
        finally:
            if call.running:
                self._abandoned = call
        log.warning("driver_does_not_answer", camera=self.camera_id)
        raise self._unavailable(HUNG)

    def _unavailable(self, problem: Problem) -> Refusal:
        return Refusal(
            SOURCE_UNAVAILABLE,
            problem.message,
            suggestion=problem.suggestion,
            cause=problem.kind,
            camera_id=self.camera_id,
        )


def _found(controls: Sequence[Control], name: str) -> Control:
    try:
        return find_control(controls, name)
    except ValueError as error:
        names = [control.name for control in controls]
        message = f"{name[:80]} {error}"
        raise Refusal(UNSUPPORTED, message, control=name[:80], controls=names) from None


def _declined(control: Control, error: OSError) -> Refusal | None:
    """Explain why a driver refused a value; None when the error is about the camera."""
    if error.filename is not None:
        return None  # the node could not be opened
    name, takes = control.name, possible(control)
    match error.errno:
        case errno.EACCES:
            return Refusal(
                UNSUPPORTED,
                f"{name} has no effect at present, because of another control",
                suggestion="Switch the automatic mode off that it belongs to.",
                cause=ProblemKind.INACTIVE,
                control=name,
            )
        case errno.EBUSY:
            return Refusal(
                SOURCE_UNAVAILABLE,
                f"{name} is locked at present",
                suggestion="Try again when the camera is not in use.",
                cause=ProblemKind.BUSY,
                control=name,
            )
        case errno.EINVAL | errno.ERANGE:
            message = f"The camera does not take this value for {name}, which must be {takes}"
            return Refusal(UNSUPPORTED, message, control=name, possible=takes)
    return None
