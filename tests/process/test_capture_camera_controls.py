"""A camera's controls, over a fake driver and threads that may hang."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest
import trio
from support.fake_v4l2_driver import NODE, FakeControl, FakeDriver, webcam

from camd.capture.controls import (
    CLIENT,
    CONFIGURATION,
    CONTROLS_FILE,
    CameraControls,
    ControlStore,
    Values,
    WantedControl,
    load_controls,
)
from camd.devices.v4l2 import videodev2
from camd.errors import INTERNAL_ERROR, INVALID_PARAMS, SOURCE_UNAVAILABLE, UNSUPPORTED, Refusal
from camd.model import CameraId

CAMERA = CameraId("camera0")
FIXED = (("exposure_time_absolute", 200), ("exposure_auto", "manual"))


def memory() -> tuple[ControlStore, list[dict[str, Values]]]:
    """Make a store in memory, and the list of what it has saved."""
    saved: list[dict[str, Values]] = []
    return ControlStore(saved.append), saved


def make_controls(
    driver: FakeDriver,
    configured: tuple[tuple[str, int | str], ...] = (),
    store: ControlStore | None = None,
    timeout: float = 30,
) -> CameraControls:
    """Make the controls of one camera."""
    kept = store or memory()[0]
    return CameraControls(CAMERA, configured, kept, driver.read, driver.write, timeout)


async def refused(driver: FakeDriver, name: str, value: int | str | bool) -> Refusal:
    """Make a change that is refused and stores nothing."""
    controls = make_controls(driver)
    with trio.fail_after(100), pytest.raises(Refusal) as caught:
        await controls.change(NODE, name, value)
    assert controls.wanted() == {}
    return caught.value


# --- setting and storing ----------------------------------------------------------------------


async def test_what_a_client_sets_is_set_and_stored() -> None:
    """The result is the driver's value; the stored text has camera and control."""
    driver, (store, saved) = webcam(), memory()
    with trio.fail_after(100):
        controls = make_controls(driver, store=store)
        control = await controls.change(NODE, "power_line_frequency", "50 Hz")
    assert (control.name, control.value) == ("power_line_frequency", 1)
    assert controls.wanted_for(control) == WantedControl(1, CLIENT)
    assert saved == [{"camera0": {"power_line_frequency": 1}}]


async def test_clients_override_the_configuration() -> None:
    """By either name of a control; null sets the configured value again."""
    driver = webcam()
    controls = make_controls(driver, (("exposure_auto", "manual"),))
    with trio.fail_after(100):
        (auto,) = [c for c in await controls.read(NODE) if c.name == "auto_exposure"]
        assert controls.wanted_for(auto) == WantedControl(1, CONFIGURATION)
        auto = await controls.change(NODE, "auto_exposure", 3)
        assert (auto.value, controls.wanted_for(auto)) == (3, WantedControl(3, CLIENT))
        auto = await controls.change(NODE, "exposure_auto", None)
    assert (auto.value, controls.wanted_for(auto)) == (1, WantedControl(1, CONFIGURATION))


async def test_null_without_a_configuration_sets_the_default() -> None:
    """The stored value is deleted, in memory and in the file."""
    driver, (store, saved) = webcam(), memory()
    controls = make_controls(driver, store=store)
    with trio.fail_after(100):
        await controls.change(NODE, "brightness", 17)
        control = await controls.change(NODE, "brightness", None)
    assert (control.value, controls.wanted()) == (128, {})
    assert saved[-1] == {}
    assert driver.log == [("Brightness", 17), ("Brightness", 128)]


async def test_the_value_of_an_inactive_control_can_be_deleted() -> None:
    """The driver refuses to set it; the stored value is deleted all the same."""
    driver, (store, _) = webcam(), memory()
    controls = make_controls(driver, store=store)
    with trio.fail_after(100):
        await store.keep(CAMERA, "exposure_time_absolute", 7)
        control = await controls.change(NODE, "exposure_absolute", None)
    assert (control.inactive, controls.wanted(), driver.log) == (True, {}, [])


async def test_a_button_is_pressed_and_not_stored() -> None:
    """It would be pressed again at every start."""
    driver = FakeDriver(controls=[FakeControl(1, "Pan, Reset", videodev2.TYPE_BUTTON)])
    controls = make_controls(driver)
    with trio.fail_after(100):
        await controls.change(NODE, "pan_reset", True)
    assert (driver.log, controls.wanted()) == ([("Pan, Reset", 1)], {})


async def test_a_value_that_cannot_be_stored_is_refused() -> None:
    """The camera has it, and would lose it at the next start."""

    def full(_: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    driver = webcam()
    controls = make_controls(driver, store=ControlStore(full))
    with trio.fail_after(100), pytest.raises(Refusal) as caught:
        await controls.change(NODE, "brightness", 17)
    assert caught.value.kind is INTERNAL_ERROR
    assert "cannot be kept: No space left" in caught.value.message
    assert controls.wanted() == {}


async def test_wrong_requests_are_refused_with_what_is_possible() -> None:
    """Values by parameter, names with all names; the driver is not written to."""
    driver = webcam()
    driver.controls.append(FakeControl(0xA00000, "Serial", flags=videodev2.FLAG_READ_ONLY))
    value = await refused(driver, "brightness", 256)
    assert value.kind is INVALID_PARAMS
    assert value.data["errors"] == [
        {"path": "value", "message": "must be a whole number from 0 to 255, not 256"}
    ]
    name = await refused(driver, "contrast", 1)
    assert name.kind is UNSUPPORTED
    assert "brightness" in name.data["controls"]
    assert (await refused(driver, "serial", 1)).kind is UNSUPPORTED
    assert driver.log == []


@pytest.mark.parametrize(
    ("number", "kind", "details"),
    [
        (errno.EACCES, UNSUPPORTED, {"cause": "inactive", "control": "brightness"}),
        (errno.EBUSY, SOURCE_UNAVAILABLE, {"cause": "busy", "control": "brightness"}),
        (errno.ERANGE, UNSUPPORTED, {"possible": "a whole number from 0 to 255"}),
        (errno.EIO, SOURCE_UNAVAILABLE, {"cause": "io_error", "camera_id": "camera0"}),
        (errno.ENODEV, SOURCE_UNAVAILABLE, {"cause": "not_found", "camera_id": "camera0"}),
    ],
)
async def test_errors_of_a_driver_become_refusals(
    number: int, kind: object, details: dict[str, str]
) -> None:
    """With a cause for programs and a message for people."""
    driver = webcam()
    driver.control("Brightness").denied = number
    refusal = await refused(driver, "brightness", 1)
    assert refusal.kind is kind
    assert details.items() <= refusal.data.items()


@pytest.mark.parametrize(
    ("number", "cause"),
    [(errno.ENOENT, "not_found"), (errno.EACCES, "no_permission"), (errno.EBUSY, "busy")],
)
async def test_errors_of_opening_become_refusals(number: int, cause: str) -> None:
    """EACCES of the node means a missing permission, not an inactive control."""
    refusal = await refused(FakeDriver(gone=number), "brightness", 1)
    assert (refusal.kind, refusal.data["cause"]) == (SOURCE_UNAVAILABLE, cause)


# --- applying ---------------------------------------------------------------------------------


async def test_a_replugged_camera_gets_its_values_again() -> None:
    """What a client has set is set on the camera that lost it: exposure and focus."""
    store, _ = memory()
    before, after = webcam(), webcam()
    with trio.fail_after(100):
        controls = make_controls(before, store=store)
        await controls.change(NODE, "focus_auto", False)
        await controls.change(NODE, "exposure_auto", "manual")
        await controls.change(NODE, "exposure_absolute", 77)
        assert await make_controls(after, store=store).apply(Path("/dev/video5")) == ()
    values = {c.label: c.value for c in after.controls}
    assert values == {c.label: c.value for c in before.controls}
    assert values["Exposure Time, Absolute"] == 77


async def test_automatic_modes_are_applied_first() -> None:
    """The exposure could not be set otherwise, though the configuration names it first."""
    driver = webcam()
    with trio.fail_after(100):
        assert await make_controls(driver, FIXED).apply(NODE) == ()
    assert driver.log == [("Auto Exposure", 1), ("Exposure Time, Absolute", 200)]


async def test_inactive_controls_are_tried_once_more() -> None:
    """Another control may have made it active; there is no third attempt."""
    driver = webcam()
    hidden = driver.control("Exposure Time, Absolute")
    mode = driver.control("Auto Exposure")
    mode.silences, mode.label = 0, "Zoom Drive"
    driver.control("Zoom Motor").silences = hidden.number
    driver.control("Zoom Motor").value = 50
    configured = (("exposure_time_absolute", 200), ("zoom_motor", 0))
    with trio.fail_after(100):
        assert await make_controls(driver, configured).apply(NODE) == ()
        assert driver.log == [("Zoom Motor", 0), ("Exposure Time, Absolute", 200)]
        driver.control("Brightness").denied = errno.EBUSY
        assert await make_controls(driver, (("brightness", 1),)).apply(NODE) == (
            "brightness has no effect or is locked at present",
        )


async def test_each_value_that_cannot_be_set_has_its_sentence() -> None:
    """Unknown names, impossible values, refusals and buttons; all others are set."""
    driver = webcam()
    driver.controls.append(FakeControl(0xA00000, "Reset", videodev2.TYPE_BUTTON))
    driver.control("Zoom Motor").denied = errno.ERANGE
    configured = (
        *(("contrast", 1), ("brightness", 300), ("reset", 1), ("zoom_motor", 10)),
        *(("power_line_frequency", "60 hz"), ("focus_auto", 0)),
    )
    with trio.fail_after(100):
        sentences = await make_controls(driver, configured).apply(NODE)
    assert driver.log == [("Focus, Automatic Continuous", 0), ("Power Line Frequency", 2)]
    assert len(sentences) == 4
    assert sentences[0].startswith("contrast is no control of this camera")
    assert sentences[1] == "brightness must be a whole number from 0 to 255, not 300"
    assert sentences[2].startswith("reset is a button")
    assert sentences[3].startswith("The camera does not take this value for zoom_motor")


async def test_a_value_that_the_driver_changes_has_its_sentence() -> None:
    """The camera then records with another value than the wanted one."""
    driver = webcam()

    def rounding(node: Path, control: object, value: int | str) -> object:
        return driver.write(node, control, int(value) // 10 * 10)  # type: ignore[arg-type]

    controls = CameraControls(CAMERA, (("brightness", 17),), memory()[0], driver.read, rounding)  # type: ignore[arg-type]
    with trio.fail_after(100):
        assert await controls.apply(NODE) == ("brightness was set to 17, and is 10",)


async def test_without_wanted_values_the_camera_is_not_opened() -> None:
    """Some cameras fail when they are opened."""
    driver = webcam()
    with trio.fail_after(100):
        assert await make_controls(driver).apply(NODE) == ()
    assert driver.opened == 0


async def test_applying_to_an_unplugged_camera_gives_a_sentence() -> None:
    """It raises nothing: a recording may have to start."""
    with trio.fail_after(100):
        sentences = await make_controls(FakeDriver(gone=errno.ENOENT), FIXED).apply(NODE)
    assert sentences == ("The camera's source is not there; its controls are not set",)


# --- drivers that hang ------------------------------------------------------------------------


async def test_a_driver_that_hangs_is_not_called_again() -> None:
    """Calls are refused at once until its thread returns; then they work again."""
    driver, stuck = webcam(), threading.Event()
    driver.stuck = stuck
    controls = make_controls(driver, FIXED, timeout=0.05)
    try:
        with trio.fail_after(100):
            with pytest.raises(Refusal) as first:
                await controls.read(NODE)
            assert first.value.data["cause"] == "hung"
            assert controls._thread.borrowed_tokens == 1
            controls._timeout_seconds = 3600  # a call that waited would exceed fail_after
            with pytest.raises(Refusal) as second:
                await controls.change(NODE, "brightness", 1)
            assert second.value.data["cause"] == "hung"
            assert await controls.apply(NODE) == (
                "The camera's driver does not answer; its controls are not set",
            )
            assert (driver.opened, driver.calls) == (1, 1)
    finally:
        stuck.set()
    with trio.fail_after(100):
        async with controls._thread:  # the thread has come back
            assert driver.open_now == 0
        assert (await controls.read(NODE))[0].name == "brightness"


async def test_a_cancelled_call_may_hang_too() -> None:
    """After a call was cancelled, the next one is refused as after a timeout."""
    driver, stuck = webcam(), threading.Event()
    driver.stuck = stuck
    controls = make_controls(driver)
    try:
        with trio.fail_after(100):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(controls.read, NODE)
                await trio.to_thread.run_sync(driver.called.wait)
                nursery.cancel_scope.cancel()
            with pytest.raises(Refusal) as caught:
                await controls.read(NODE)
        assert caught.value.data["cause"] == "hung"
    finally:
        stuck.set()


async def test_a_driver_that_hangs_delays_no_other_camera() -> None:
    """Each camera has its own thread."""
    driver, stuck = webcam(), threading.Event()
    driver.stuck = stuck
    hanging, other = make_controls(driver), make_controls(webcam())
    try:
        with trio.fail_after(100):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hanging.read, NODE)
                await trio.to_thread.run_sync(driver.called.wait)
                assert len(await other.read(NODE)) == 6
                nursery.cancel_scope.cancel()
    finally:
        stuck.set()


async def test_callers_of_one_camera_take_turns() -> None:
    """Two calls at a time are both answered, one thread after the other."""
    driver = webcam()
    controls = make_controls(driver)
    with trio.fail_after(100):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(controls.change, NODE, "brightness", 1)
            nursery.start_soon(controls.change, NODE, "power_line_frequency", 0)
    assert sorted(driver.log) == [("Brightness", 1), ("Power Line Frequency", 0)]
    assert controls.wanted().keys() == {"brightness", "power_line_frequency"}


# --- the file ---------------------------------------------------------------------------------


async def test_stored_values_are_loaded_after_a_restart(tmp_path: Path) -> None:
    """By camera id; a missing folder is made."""
    state = tmp_path / "state"
    with trio.fail_after(100):
        store = load_controls(state)
        await store.keep(CAMERA, "brightness", 17)
        await store.keep(CameraId("garage"), "owner", "eve")
        await store.keep(CAMERA, "gain", 3)
        await store.keep(CAMERA, "gain", None)
    again = load_controls(state)
    assert (again.of(CAMERA), again.of(CameraId("garage"))) == (
        {"brightness": 17},
        {"owner": "eve"},
    )
    assert again.of(CameraId("camera1")) == {}
    assert [path.name for path in state.iterdir()] == [CONTROLS_FILE]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"camera0": {"gain": 1.5}}', '{"camera0": {"gain": null}}', "\xff"]
)
async def test_a_damaged_file_is_set_aside(tmp_path: Path, text: str) -> None:
    """No values are known then, the damaged file is kept, and new values are stored."""
    (tmp_path / CONTROLS_FILE).write_text(text, encoding="latin-1")
    store = load_controls(tmp_path)
    assert store.of(CAMERA) == {}
    with trio.fail_after(100):
        await store.keep(CAMERA, "gain", 3)
    assert (tmp_path / f"{CONTROLS_FILE}.damaged").read_text(encoding="latin-1") == text
    assert load_controls(tmp_path).of(CAMERA) == {"gain": 3}


async def test_the_values_of_a_forgotten_camera_are_deleted() -> None:
    """The next camera with its id does not get them."""
    saved: list[dict[str, Values]] = []
    store = ControlStore(saved.append)
    await store.keep(CameraId("camera0"), "gain", 7)
    await store.keep(CameraId("camera1"), "gain", 9)
    await store.forget(CameraId("camera0"))
    await store.forget(CameraId("camera8"))
    assert store.of(CameraId("camera0")) == {}
    assert saved[-1] == {"camera1": {"gain": 9}}
    assert len(saved) == 3
