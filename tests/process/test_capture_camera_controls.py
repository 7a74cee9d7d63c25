"""A camera's wished controls, over a driver in memory and threads that may hang."""

from __future__ import annotations

import errno
import json
import threading
from pathlib import Path

import pytest
import trio
from support.fake_v4l2_driver import NODE, FakeControl, FakeDriver, webcam

from camd.capture.controls import (
    CLIENT,
    CONFIGURATION,
    WISHES,
    CameraControls,
    ControlStore,
    WantedControl,
    load_controls,
)
from camd.devices.v4l2 import videodev2
from camd.errors import INTERNAL_ERROR, INVALID_PARAMS, SOURCE_UNAVAILABLE, UNSUPPORTED, Refusal
from camd.model import CameraId

CAMERA = CameraId("camera0")
FIXED = (("exposure_time_absolute", 200), ("exposure_auto", "manual"))


def memory() -> tuple[ControlStore, list[str]]:
    """Keep wishes in memory; the list has every text that was made durable."""
    saved: list[str] = []
    return ControlStore(saved.append), saved


def settings(
    driver: FakeDriver,
    configured: tuple[tuple[str, int | str], ...] = (),
    wishes: ControlStore | None = None,
    patience: float = 30,
) -> CameraControls:
    """Make the settings of one camera."""
    kept = wishes or memory()[0]
    return CameraControls(CAMERA, configured, kept, driver.read, driver.write, patience)


async def refused(driver: FakeDriver, name: str, value: int | str | bool) -> Refusal:
    """Make a change that is refused; nothing is kept of it."""
    owner = settings(driver)
    with trio.fail_after(20), pytest.raises(Refusal) as caught:
        await owner.change(NODE, name, value)
    assert owner.wishes() == {}
    return caught.value


# --- setting and keeping ----------------------------------------------------------------------


async def test_what_a_client_sets_is_set_and_kept() -> None:
    """The answer is what the driver has then; the durable text names camera and control."""
    driver, (wishes, saved) = webcam(), memory()
    with trio.fail_after(20):
        owner = settings(driver, wishes=wishes)
        control = await owner.change(NODE, "power_line_frequency", "50 Hz")
    assert (control.name, control.value) == ("power_line_frequency", 1)
    assert owner.wish_for(control) == WantedControl(1, CLIENT)
    assert [json.loads(text) for text in saved] == [{"camera0": {"power_line_frequency": 1}}]


async def test_clients_go_over_the_configuration() -> None:
    """By either name of a control; forgetting brings the configuration's value back."""
    driver = webcam()
    owner = settings(driver, (("exposure_auto", "manual"),))
    with trio.fail_after(20):
        (auto,) = [c for c in await owner.read(NODE) if c.name == "auto_exposure"]
        assert owner.wish_for(auto) == WantedControl(1, CONFIGURATION)
        auto = await owner.change(NODE, "auto_exposure", 3)
        assert (auto.value, owner.wish_for(auto)) == (3, WantedControl(3, CLIENT))
        auto = await owner.change(NODE, "exposure_auto", None)
    assert (auto.value, owner.wish_for(auto)) == (1, WantedControl(1, CONFIGURATION))


async def test_forgetting_without_a_configuration_sets_the_default() -> None:
    """And nothing is kept any more, in memory and in the file."""
    driver, (wishes, saved) = webcam(), memory()
    owner = settings(driver, wishes=wishes)
    with trio.fail_after(20):
        await owner.change(NODE, "brightness", 17)
        control = await owner.change(NODE, "brightness", None)
    assert (control.value, owner.wishes()) == (128, {})
    assert json.loads(saved[-1]) == {}
    assert driver.log == [("Brightness", 17), ("Brightness", 128)]


async def test_a_control_without_effect_can_be_forgotten() -> None:
    """The driver refuses to set it; the wish is gone all the same."""
    driver, (wishes, _) = webcam(), memory()
    owner = settings(driver, wishes=wishes)
    with trio.fail_after(20):
        await wishes.keep(CAMERA, "exposure_time_absolute", 7)
        control = await owner.change(NODE, "exposure_absolute", None)
    assert (control.inactive, owner.wishes(), driver.log) == (True, {}, [])


async def test_a_button_is_pressed_and_not_kept() -> None:
    """It would be pressed again at every start."""
    driver = FakeDriver(controls=[FakeControl(1, "Pan, Reset", videodev2.TYPE_BUTTON)])
    owner = settings(driver)
    with trio.fail_after(20):
        await owner.change(NODE, "pan_reset", True)
    assert (driver.log, owner.wishes()) == ([("Pan, Reset", 1)], {})


async def test_what_cannot_be_kept_is_said() -> None:
    """The camera has it, and the next start would not: that is no success."""

    def full(_: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    driver = webcam()
    owner = settings(driver, wishes=ControlStore(full))
    with trio.fail_after(20), pytest.raises(Refusal) as caught:
        await owner.change(NODE, "brightness", 17)
    assert caught.value.kind is INTERNAL_ERROR
    assert "cannot be kept: No space left" in caught.value.message
    assert owner.wishes() == {}


async def test_wrong_wishes_are_refused_with_what_is_possible() -> None:
    """Values by parameter, names with the list of names; the driver is not written to."""
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
async def test_what_a_driver_refuses_is_translated(
    number: int, kind: object, details: dict[str, str]
) -> None:
    """A cause for programs, and a sentence for people."""
    driver = webcam()
    driver.control("Brightness").denied = number
    refusal = await refused(driver, "brightness", 1)
    assert refusal.kind is kind
    assert details.items() <= refusal.data.items()


@pytest.mark.parametrize(
    ("number", "cause"),
    [(errno.ENOENT, "not_found"), (errno.EACCES, "no_permission"), (errno.EBUSY, "busy")],
)
async def test_a_node_that_cannot_be_opened_is_translated(number: int, cause: str) -> None:
    """EACCES of the node is about the group video, and not about an automatic mode."""
    refusal = await refused(FakeDriver(gone=number), "brightness", 1)
    assert (refusal.kind, refusal.data["cause"]) == (SOURCE_UNAVAILABLE, cause)


# --- applying ---------------------------------------------------------------------------------


async def test_a_camera_that_comes_back_gets_its_settings_again() -> None:
    """What a client fixed on one camera is on the one that has lost it: exposure and focus."""
    wishes, _ = memory()
    before, after = webcam(), webcam()
    with trio.fail_after(20):
        owner = settings(before, wishes=wishes)
        await owner.change(NODE, "focus_auto", False)
        await owner.change(NODE, "exposure_auto", "manual")
        await owner.change(NODE, "exposure_absolute", 77)
        assert await settings(after, wishes=wishes).apply(Path("/dev/video5")) == ()
    values = {c.label: c.value for c in after.controls}
    assert values == {c.label: c.value for c in before.controls}
    assert values["Exposure Time, Absolute"] == 77


async def test_automatic_modes_are_applied_first() -> None:
    """The exposure could not be set otherwise, though the configuration names it first."""
    driver = webcam()
    with trio.fail_after(20):
        assert await settings(driver, FIXED).apply(NODE) == ()
    assert driver.log == [("Auto Exposure", 1), ("Exposure Time, Absolute", 200)]


async def test_what_is_inactive_is_tried_once_more() -> None:
    """Another control made it active in the meantime; one attempt more, and no third."""
    driver = webcam()
    hidden = driver.control("Exposure Time, Absolute")
    mode = driver.control("Auto Exposure")
    mode.silences, mode.label = 0, "Zoom Drive"
    driver.control("Zoom Motor").silences = hidden.number
    driver.control("Zoom Motor").value = 50
    wishes = (("exposure_time_absolute", 200), ("zoom_motor", 0))
    with trio.fail_after(20):
        assert await settings(driver, wishes).apply(NODE) == ()
        assert driver.log == [("Zoom Motor", 0), ("Exposure Time, Absolute", 200)]
        driver.control("Brightness").denied = errno.EBUSY
        assert await settings(driver, (("brightness", 1),)).apply(NODE) == (
            "brightness has no effect or is locked at present",
        )


async def test_each_wish_that_cannot_be_met_has_its_sentence_and_the_others_are_met() -> None:
    """Unknown names, values that are not possible, refusals of the driver, buttons."""
    driver = webcam()
    driver.controls.append(FakeControl(0xA00000, "Reset", videodev2.TYPE_BUTTON))
    driver.control("Zoom Motor").denied = errno.ERANGE
    wishes = (
        *(("contrast", 1), ("brightness", 300), ("reset", 1), ("zoom_motor", 10)),
        *(("power_line_frequency", "60 hz"), ("focus_auto", 0)),
    )
    with trio.fail_after(20):
        sentences = await settings(driver, wishes).apply(NODE)
    assert driver.log == [("Focus, Automatic Continuous", 0), ("Power Line Frequency", 2)]
    assert len(sentences) == 4
    assert sentences[0].startswith("contrast is no control of this camera")
    assert sentences[1] == "brightness must be a whole number from 0 to 255, not 300"
    assert sentences[2].startswith("reset is a button")
    assert sentences[3].startswith("The camera does not take this value for zoom_motor")


async def test_a_value_that_the_driver_changes_is_said() -> None:
    """What is recorded is then not what was wished for."""
    driver = webcam()

    def rounding(node: Path, control: object, value: int | str) -> object:
        return driver.write(node, control, int(value) // 10 * 10)  # type: ignore[arg-type]

    owner = CameraControls(CAMERA, (("brightness", 17),), memory()[0], driver.read, rounding)  # type: ignore[arg-type]
    with trio.fail_after(20):
        assert await owner.apply(NODE) == ("brightness was set to 17, and is 10",)


async def test_without_wishes_the_camera_is_not_touched() -> None:
    """Not even opened: some cameras dislike it."""
    driver = webcam()
    with trio.fail_after(20):
        assert await settings(driver).apply(NODE) == ()
    assert driver.opened == 0


async def test_applying_to_a_camera_that_is_gone_is_a_sentence() -> None:
    """It does not raise: there may be a recording to begin."""
    with trio.fail_after(20):
        sentences = await settings(FakeDriver(gone=errno.ENOENT), FIXED).apply(NODE)
    assert sentences == ("The camera is not there; its controls are not set",)


# --- drivers that hang ------------------------------------------------------------------------


async def test_a_driver_that_hangs_is_left_alone() -> None:
    """One thread, and refusals at once until it has come back; then all is well again."""
    driver, stuck = webcam(), threading.Event()
    driver.stuck = stuck
    owner = settings(driver, FIXED, patience=0.05)
    try:
        with trio.fail_after(20):
            with pytest.raises(Refusal) as first:
                await owner.read(NODE)
            assert first.value.data["cause"] == "hung"
            assert owner._one.borrowed_tokens == 1
            owner._patience_seconds = 3600  # whoever still waits, waits too long
            with pytest.raises(Refusal) as second:
                await owner.change(NODE, "brightness", 1)
            assert second.value.data["cause"] == "hung"
            assert await owner.apply(NODE) == (
                "The camera's driver does not answer; its controls are not set",
            )
            assert (driver.opened, driver.calls) == (1, 1)
    finally:
        stuck.set()
    with trio.fail_after(20):
        async with owner._one:  # the thread has come back
            assert driver.open_now == 0
        assert (await owner.read(NODE))[0].name == "brightness"


async def test_a_caller_who_gives_up_leaves_a_hanging_call_too() -> None:
    """Being cancelled is like losing patience: the next one is refused at once."""
    driver, stuck = webcam(), threading.Event()
    driver.stuck = stuck
    owner = settings(driver)
    try:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(owner.read, NODE)
                await trio.to_thread.run_sync(driver.called.wait)
                nursery.cancel_scope.cancel()
            with pytest.raises(Refusal) as caught:
                await owner.read(NODE)
        assert caught.value.data["cause"] == "hung"
    finally:
        stuck.set()


async def test_a_driver_that_hangs_delays_no_other_camera() -> None:
    """Each has threads of its own."""
    driver, stuck = webcam(), threading.Event()
    driver.stuck = stuck
    hanging, other = settings(driver), settings(webcam())
    try:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hanging.read, NODE)
                await trio.to_thread.run_sync(driver.called.wait)
                assert len(await other.read(NODE)) == 6
                nursery.cancel_scope.cancel()
    finally:
        stuck.set()


async def test_callers_of_one_camera_take_turns() -> None:
    """Two at a time are both answered, one thread after the other."""
    driver = webcam()
    owner = settings(driver)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(owner.change, NODE, "brightness", 1)
            nursery.start_soon(owner.change, NODE, "power_line_frequency", 0)
    assert sorted(driver.log) == [("Brightness", 1), ("Power Line Frequency", 0)]
    assert owner.wishes().keys() == {"brightness", "power_line_frequency"}


# --- the file ---------------------------------------------------------------------------------


async def test_wishes_outlive_the_daemon(tmp_path: Path) -> None:
    """By camera id; the folder is made when it is missing."""
    state = tmp_path / "state"
    with trio.fail_after(20):
        wishes = load_controls(state)
        await wishes.keep(CAMERA, "brightness", 17)
        await wishes.keep(CameraId("gate"), "owner", "eve")
        await wishes.keep(CAMERA, "gain", 3)
        await wishes.keep(CAMERA, "gain", None)
    again = load_controls(state)
    assert (again.of(CAMERA), again.of(CameraId("gate"))) == ({"brightness": 17}, {"owner": "eve"})
    assert again.of(CameraId("camera1")) == {}
    assert [path.name for path in state.iterdir()] == [WISHES]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"camera0": {"gain": 1.5}}', '{"camera0": {"gain": null}}', "\xff"]
)
async def test_a_damaged_file_is_set_aside(tmp_path: Path, text: str) -> None:
    """Nothing is known then, a copy stays for people, and the next wish is kept again."""
    (tmp_path / WISHES).write_text(text, encoding="latin-1")
    wishes = load_controls(tmp_path)
    assert wishes.of(CAMERA) == {}
    assert (tmp_path / f"{WISHES}.damaged").read_text(encoding="latin-1") == text
    with trio.fail_after(20):
        await wishes.keep(CAMERA, "gain", 3)
    assert load_controls(tmp_path).of(CAMERA) == {"gain": 3}


async def test_a_forgotten_camera_leaves_no_settings_to_whoever_has_its_id_next() -> None:
    """Settings follow the camera, never the number; a full disk is no reason to fail."""
    saved: list[str] = []
    wishes = ControlStore(saved.append)
    await wishes.keep(CameraId("camera0"), "gain", 7)
    await wishes.keep(CameraId("camera1"), "gain", 9)
    await wishes.forget(CameraId("camera0"))
    await wishes.forget(CameraId("camera8"))
    assert wishes.of(CameraId("camera0")) == {}
    assert json.loads(saved[-1]) == {"camera1": {"gain": 9}}
    assert len(saved) == 3
