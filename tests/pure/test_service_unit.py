"""The unit of the service: lines whose absence nobody would notice before it matters."""

from __future__ import annotations

from pathlib import Path

UNIT = Path(__file__).parents[2] / "systemd" / "camd.service"


def values(key: str) -> list[str]:
    """Read the values of a key of the unit, in its order."""
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    return [value for name, equals, value in (x.partition("=") for x in lines) if name == key]


def test_devices_are_allowed_by_number() -> None:
    """A name is unknown while no driver is loaded: the first camera could not be opened."""
    majors = {value.removeprefix("char-").removesuffix(" rw") for value in values("DeviceAllow")}
    assert majors == {"81", "116", "226"}  # video4linux, ALSA, DRM: devices.txt of the kernel


def test_a_reload_reads_the_configuration_that_the_service_reads() -> None:
    """The program and the file are those of the start, so that what is checked is what is read."""
    (start,), (check, *_) = values("ExecStart"), values("ExecReload")
    assert start.replace(" run ", " check --config-only ") == check


def test_a_reload_gives_the_service_time_to_tell_that_it_reloads() -> None:
    """systemctl waits for READY only when RELOADING came while the commands ran."""
    _, signal, pause = values("ExecReload")
    assert signal == "kill -HUP $MAINPID"
    assert pause.startswith("sleep ")


def test_systemd_never_gives_up_restarting() -> None:
    """Five failures within ten seconds would leave the machine without a recorder, for good."""
    assert values("StartLimitIntervalSec") == ["0"]
    text = UNIT.read_text(encoding="utf-8")
    assert text.index("StartLimitIntervalSec") < text.index("\n[Service]\n")  # systemd.unit(5)
    assert values("RestartPreventExitStatus") == ["78"]  # but what needs a person waits for one
