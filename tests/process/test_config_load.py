"""Finding, reading and checking the configuration; all mistakes are reported."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from camd.config.load import find_file, find_path_bases, load_config, unreadable
from camd.config.machine_zone import find_machine_zone
from camd.config.schema import Config
from camd.errors import ConfigError
from camd.sources import FileSource, V4l2Source


def write(folder: Path, text: str) -> Path:
    """Write a configuration file into `folder` and return its path."""
    file = folder / "camd.toml"
    file.write_text(text, encoding="utf-8")
    return file


def mistakes_of(folder: Path, text: str, **environ: str) -> tuple[str, ...]:
    """Return what is wrong with a configuration."""
    with pytest.raises(ConfigError) as caught:
        load_config(write(folder, text), environ)
    return caught.value.mistakes


def test_a_whole_file_becomes_a_configuration(tmp_path: Path) -> None:
    """Values, defaults and names come out typed, every path absolute."""
    config = load_config(
        write(
            tmp_path,
            """
            [server]
            listen = ["127.0.0.1:0", "unix:/run/camd/camd.sock"]
            [recording]
            rotation = "10m"
            max_file_size = "2GiB"
            [[camera]]
            id = "gate"
            source = "file:clip.mp4"
            resolution = "1280x720"
            bitrate = "4M"
            [[camera]]
            source = "v4l2:/dev/video0"
            controls = { power_line_frequency = "50 Hz" }
            """,
        ),
        {},
    )
    assert config.cameras[1].controls == (("power_line_frequency", "50 Hz"),)
    assert config.file == tmp_path / "camd.toml"
    assert config.server.listen == ("127.0.0.1:0", "unix:/run/camd/camd.sock")
    assert config.recording.rotation == timedelta(minutes=10)
    assert config.recording.max_file_size == 2 << 30
    assert config.mediamtx is None
    assert config.storage.recordings_dir == tmp_path / "recordings"
    assert config.auth.keys_file == tmp_path / "state" / "keys.toml"
    gate, other = config.cameras
    assert (gate.device, gate.name, gate.width, gate.bitrate) == ("gate", "gate", 1280, 4_000_000)
    assert gate.source == FileSource(tmp_path / "clip.mp4")
    assert (other.id, other.source) == ("camera0", V4l2Source(Path("/dev/video0")))
    assert (other.device, other.name) == ("", "")  # seen when it is there


def test_only_cameras_of_this_machine_have_controls(tmp_path: Path) -> None:
    """A stream has none; a camera that is found by itself may."""
    text = "camera = [{source = 'test:', controls = {gain = 1}}, {id = 'a', controls = {gain = 1}}]"
    assert mistakes_of(tmp_path, text) == (
        "camera[0].controls: only cameras of this machine have controls",
    )


def test_default_ids_leave_out_those_that_are_taken(tmp_path: Path) -> None:
    """A default id is never the id of another camera."""
    config = load_config(
        write(
            tmp_path,
            """
            camera = [{source = "test:"}, {id = "camera0", source = "test:"}, {source = "test:"}]
            """,
        ),
        {},
    )
    assert [camera.id for camera in config.cameras] == ["camera1", "camera0", "camera2"]


def test_without_a_file_the_defaults_apply(tmp_path: Path) -> None:
    """Without a file the folders are absolute, too."""
    config = load_config(None, {"HOME": str(tmp_path)})
    assert config.server == Config().server
    assert config.cameras == ()
    expected = "/var/lib/camd" if os.geteuid() == 0 else f"{tmp_path}/.local/share/camd"
    assert str(config.storage.recordings_dir) == f"{expected}/recordings"


def test_the_file_is_searched_in_the_documented_order(tmp_path: Path) -> None:
    """The option, the variable, the system's file, the user's file."""
    system, user = tmp_path / "etc.toml", tmp_path / "config" / "camd" / "camd.toml"
    user.parent.mkdir(parents=True)
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    assert find_file(None, environ, system) is None
    user.touch()
    assert find_file(None, environ, system) == user
    assert find_file(None, {"HOME": "/nowhere", **environ}, system) == user
    system.touch()
    assert find_file(None, environ, system) == system
    named = {**environ, "CAMD_CONFIG": "/named.toml"}
    assert find_file(None, named, system) == Path("/named.toml")
    assert find_file(Path("/given.toml"), named, system) == Path("/given.toml")
    assert find_file(Path("given.toml"), {}, system) == Path.cwd() / "given.toml"


@pytest.mark.parametrize(
    ("file", "folder", "data"),
    [
        ("/srv/site/camd.toml", "/srv/site", "/srv/site"),
        ("/etc/camd/camd.toml", "/etc/camd", "/var/lib/camd"),
        (
            "/home/eve/.config/camd/camd.toml",
            "/home/eve/.config/camd",
            "/home/eve/.local/share/camd",
        ),
    ],
)
def test_recordings_are_not_stored_in_configuration_folders(
    file: str, folder: str, data: str
) -> None:
    """Below /etc and in the user's configuration folder, data starts elsewhere."""
    places = find_path_bases(Path(file), {"HOME": "/home/eve"})
    assert (str(places.folder), str(places.data)) == (folder, data)


def test_xdg_variables_move_the_users_places(tmp_path: Path) -> None:
    """Absolute ones count; relative ones are ignored, as the specification says."""
    file = tmp_path / "c" / "camd" / "camd.toml"
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "c"), "XDG_DATA_HOME": "data", "HOME": "/h"}
    assert find_path_bases(file, environ).data == Path("/h/.local/share/camd")


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    """A misspelt path does not start a service with defaults."""
    missing = tmp_path / "none.toml"
    for path, environ in ((missing, {}), (None, {"CAMD_CONFIG": str(missing)})):
        with pytest.raises(ConfigError) as caught:
            load_config(path, environ)
        assert caught.value.mistakes == (f"{missing}: cannot be read: No such file or directory",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[server\n", "is not valid TOML"),
        (b"x = '\xff'", "is not UTF-8 text (byte 5)"),
        ("[server]\n".encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
        (b"\xfe\xff\0[", "is UTF-16 text; save it as UTF-8"),
    ],
)
def test_a_file_that_is_no_toml_is_one_mistake(tmp_path: Path, content: bytes, words: str) -> None:
    """The mistake names the file and the place in it."""
    file = tmp_path / "camd.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=words.replace("(", r"\(").replace(")", r"\)")):
        load_config(file, {})


def test_a_file_of_another_user_has_advice_for_people_and_for_the_service() -> None:
    """The package's file is readable for the service's group alone, and people have no key."""
    refused = PermissionError(errno.EACCES, "Permission denied")
    (mistake,) = unreadable(Path("/etc/camd/camd.toml"), refused).mistakes
    assert "Use sudo" in mistake
    assert "chgrp camd /etc/camd/camd.toml" in mistake


@pytest.mark.parametrize("begin", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_a_file_may_come_from_an_editor_of_windows(
    tmp_path: Path, begin: bytes, end: bytes
) -> None:
    """A byte order mark and carriage returns are no part of any value."""
    file = tmp_path / "camd.toml"
    lines = [b"[auth]", b"jwt_secret = '" + b"s" * 32 + b"'", b"[[camera]]", b"id = 'gate'"]
    file.write_bytes(begin + end.join([*lines, b"source = 'test:'", b""]))
    config = load_config(file, {})
    assert (config.auth.jwt_secret, config.cameras[0].id) == ("s" * 32, "gate")


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    """The environment overrides the file."""
    file = write(tmp_path, "[recording]\nrotation = '5m'\nformat = 'mkv'")
    config = load_config(file, {"RECORDING_ROTATION_MINUTES": "10"})
    assert config.recording.rotation == timedelta(minutes=10)
    assert config.recording.format == "mkv"
    assert load_config(file, {"CAMD_MEDIAMTX__API": "http://m:1"}).mediamtx is not None


def test_mistakes_of_file_environment_and_combinations_come_together(tmp_path: Path) -> None:
    """All mistakes are reported at once."""
    mistakes = mistakes_of(
        tmp_path,
        """
        [server]
        tls_cert = "cert.pem"
        [recording]
        format = "avi"
        [[camera]]
        source = "v4l2:/dev/video0"
        [[camera]]
        id = "gate"
        source = "v4l2:/dev/video0"
        [[camera]]
        id = "gate"
        source = "test:"
        codec = "copy"
        """,
        STORAGE_WARN_PERCENT="90",
        CAMD_AUTH__ENABLD="false",
    )
    assert [mistake.split(":")[0] for mistake in mistakes] == [
        "CAMD_AUTH__ENABLD",
        "recording.format",
        "server.tls_key",
        "storage.warn_percent (from STORAGE_WARN_PERCENT)",
        "camera[1].source",
        "camera[2].codec",
    ]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (
            "camera = [{id = 'a', source = 'test:'}, {id = 'a', source = 'test:'}]",
            "camera[1].id: 'a' is taken by camera[0]",
        ),
        (
            "camera = [{id = 'a', source = 'test:'}, {device = 'a', source = 'test:'}]",
            "camera[1].device: 'a' is taken by camera[0]",
        ),
        ("[server]\nhealth_listen = '127.0.0.1:8002'", "server.health_listen: is an address"),
        ("[storage]\nstate_dir = 'recordings'", "all three must be different"),
        ("[storage]\nblock_percent = 80", "storage.warn_percent: 80 must be below"),
    ],
)
def test_wrong_combinations_are_mistakes(tmp_path: Path, text: str, mistake: str) -> None:
    """Values that are right alone and wrong together."""
    (found,) = mistakes_of(tmp_path, text)
    assert mistake in found


def test_the_secret_is_read_from_its_file_and_hidden(tmp_path: Path) -> None:
    """A closing newline does not belong to it; repr leaves it out."""
    (tmp_path / "secret").write_text("s" * 32 + "\n", encoding="ascii")
    config = load_config(write(tmp_path, "[auth]\njwt_secret_file = 'secret'"), {})
    assert config.auth.jwt_secret == "s" * 32
    assert "s" * 32 not in repr(config)


def test_a_secret_file_must_be_readable_long_enough_and_alone(tmp_path: Path) -> None:
    """Each mistake has its message; the environment may replace the file."""
    text = "[auth]\njwt_secret_file = 'secret'"
    assert "cannot be read: No such file" in mistakes_of(tmp_path, text)[0]
    (tmp_path / "secret").write_text("short", encoding="ascii")
    assert "holds 5 bytes" in mistakes_of(tmp_path, text)[0]
    both = f"{text}\njwt_secret = '{'s' * 32}'"
    assert "keep one of them" in mistakes_of(tmp_path, both)[0]
    config = load_config(write(tmp_path, text), {"CAMERA_SERVICE_JWT_SECRET": "e" * 32})
    assert config.auth.jwt_secret == "e" * 32


@pytest.mark.parametrize(
    ("text", "environ", "words"),
    [
        (
            "[storage]\nblock_percent = 50",
            {"STORAGE_WARN_PERCENT": "70"},
            "storage.warn_percent (from STORAGE_WARN_PERCENT): 70 must be below "
            "storage.block_percent, which is 50",
        ),
        (
            "[storage]\nwarn_percent = 70",
            {"CAMD_STORAGE__BLOCK_PERCENT": "50"},
            "storage.warn_percent: 70 must be below "
            "storage.block_percent (from CAMD_STORAGE__BLOCK_PERCENT), which is 50",
        ),
        (
            "",
            {"CAMD_SERVER__TLS_CERT": "/cert.pem"},
            "server.tls_key: is missing; "
            "TLS needs both server.tls_cert (from CAMD_SERVER__TLS_CERT)",
        ),
        (
            "",
            {"CAMD_AUTH__JWT_SECRET_FILE": "/nowhere"},
            "auth.jwt_secret_file (from CAMD_AUTH__JWT_SECRET_FILE): /nowhere cannot be read",
        ),
        (
            "",
            {"STORAGE_WARN_PERCENT": "much"},
            "storage.warn_percent (from STORAGE_WARN_PERCENT): must be a number",
        ),
    ],
)
def test_a_mistake_from_the_environment_names_its_variable(
    tmp_path: Path, text: str, environ: dict[str, str], words: str
) -> None:
    """For a wrong value and for a wrong combination, whichever value it has set."""
    (mistake,) = mistakes_of(tmp_path, text, **environ)
    assert mistake.startswith(words)
    assert mistake.count("(from ") == 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (os.mkfifo, "is a FIFO, not a file"),
        (os.mkdir, "is a directory, not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a character device, not a file"),
        (lambda path: path.write_bytes(b"#" * (4 * 1024 * 1024 + 1)), "is larger than 4194304 by"),
    ],
    ids=["fifo", "directory", "device", "large"],
)
def test_other_kinds_of_files_are_refused_with_a_message(
    tmp_path: Path, make: Callable[[Path], object], words: str
) -> None:
    """For the configuration and the file of a secret: no waiting for a FIFO, no endless reading."""
    make(tmp_path / "camd.toml")
    with pytest.raises(ConfigError, match=words):
        load_config(tmp_path / "camd.toml", {})
    make(tmp_path / "secret")
    text = f"[auth]\njwt_secret_file = '{tmp_path}/secret'"
    (tmp_path / "other").mkdir()
    (mistake,) = mistakes_of(tmp_path / "other", text)
    assert words.removesuffix(" 4194304 by") in mistake


def test_the_password_of_the_media_server_comes_from_a_file(tmp_path: Path) -> None:
    """The file's content counts, without the line's end; the environment counts more."""
    (tmp_path / "password").write_text("from the file\n", encoding="utf-8")
    text = "[mediamtx]\nusername = 'camd'\npassword_file = 'password'"
    server = load_config(write(tmp_path, text), {}).mediamtx
    assert server is not None
    assert server.password == "from the file"
    assert "from the file" not in repr(server)
    environ = {"CAMD_MEDIAMTX__PASSWORD": "from the environment"}
    other = load_config(write(tmp_path, text), environ).mediamtx
    assert other is not None
    assert other.password == "from the environment"
    (mistake,) = mistakes_of(tmp_path, text.replace("'password'", "'/nowhere'"))
    assert mistake == "mediamtx.password_file: /nowhere cannot be read: No such file or directory"
    (mistake,) = mistakes_of(tmp_path, text + "\npassword = 'x'")
    assert "stands beside mediamtx.password_file" in mistake


def test_a_password_needs_a_user(tmp_path: Path) -> None:
    """Without one it would never be sent."""
    (mistake,) = mistakes_of(tmp_path, "[mediamtx]\npassword = 'x'")
    assert mistake.startswith("mediamtx.username: is missing")


def test_two_cameras_never_have_the_same_path(tmp_path: Path) -> None:
    """Neither by their names, nor by the name of one and the id of the other."""
    cameras = "[[camera]]\nid = 'a'\nsource = 'test:'\n"
    cameras += "[[camera]]\nid = 'b'\nsource = 'test:'\nstream_name = 'a'\n"
    (mistake,) = mistakes_of(tmp_path, "[mediamtx]\n" + cameras)
    assert mistake == "camera[1].stream_name: 'a' is the path of camera[0]"
    load_config(write(tmp_path, cameras), {})  # without the section nothing is published


NIGHTS = "[[schedule]]\ncameras = 'gate'\nfrom = '20:00'\nto = '06:00'\n"


def test_a_schedule_has_the_zone_of_the_machine_and_a_name(tmp_path: Path) -> None:
    """Names that are taken are left out; TZ is the zone where it is set."""
    text = f"{NIGHTS}name = 'schedule0'\n{NIGHTS}{NIGHTS}timezone = 'UTC'\n"
    config = load_config(write(tmp_path, text), {"TZ": ":Asia/Tokyo"})
    assert [(one.name, one.timezone.name) for one in config.schedules] == [
        ("schedule0", "Asia/Tokyo"),
        ("schedule1", "Asia/Tokyo"),
        ("schedule2", "UTC"),
    ]


def test_the_zone_of_the_machine_is_where_its_link_leads(tmp_path: Path) -> None:
    """TZ may be a path, too; a copy of a zone's file, a rule or nothing has no name."""
    link = tmp_path / "localtime"
    assert find_machine_zone({}, link) is None
    link.symlink_to("../usr/share/zoneinfo/Europe/Berlin")
    found = find_machine_zone({}, link)
    assert found is not None
    assert found.name == "Europe/Berlin"
    absolute = find_machine_zone({"TZ": "/usr/share/zoneinfo/Asia/Tokyo"}, link)
    assert absolute is not None
    assert absolute.name == "Asia/Tokyo"
    for text in ("CET-1CEST,M3.5.0,M10.5.0/3", "/etc/localtime", "Nowhere/City"):
        assert find_machine_zone({"TZ": text}, link) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{NIGHTS}to = '20:00'", "is not valid TOML"),
        (NIGHTS.replace("06", "20"), "schedule[0].to: is the same time as from"),
        (
            f"{NIGHTS}name = 'a'\n{NIGHTS}name = 'a'",
            "schedule[1].name: 'a' is that of schedule[0]",
        ),
    ],
)
def test_schedules_that_would_record_nothing_or_have_one_name(
    tmp_path: Path, text: str, words: str
) -> None:
    """Each is a mistake."""
    (found,) = mistakes_of(tmp_path, text, TZ="UTC")
    assert words in found


def test_a_machine_without_a_zone_needs_one_in_the_schedule(tmp_path: Path) -> None:
    """The mistake says where camd has looked."""
    (found,) = mistakes_of(tmp_path, NIGHTS, TZ="CET-1")
    assert "does not say its own zone (TZ, /etc/localtime)" in found


def test_more_cameras_than_a_service_has_are_a_mistake(tmp_path: Path) -> None:
    """As many as it has are none."""
    most = "[[camera]]\nsource = 'test:'\n" * 64
    assert len(load_config(write(tmp_path, most), {}).cameras) == 64
    (found,) = mistakes_of(tmp_path, f"{most}[[camera]]\nsource = 'test:'\n")
    assert found.startswith("camera: 65 entries, and one service has at most 64 cameras; run a")


def test_a_preview_is_a_stream_and_its_password_is_secret(tmp_path: Path) -> None:
    """A device can be opened once only; another kind of source is read as the source itself is."""
    entry = "[[camera]]\nsource = 'test:'\npreview = '{}'\n"
    config = load_config(write(tmp_path, entry.format("rtsp://user:hush@host/stream2")), {})
    assert config.cameras[0].preview is not None
    assert "hush" not in repr(config)
    (mistake,) = mistakes_of(tmp_path, entry.format("v4l2:/dev/video1"))
    assert mistake.startswith("camera[0].preview: a stream, not a device")
    (mistake,) = mistakes_of(tmp_path, entry.format("nonsense"))
    assert mistake.startswith("camera[0].preview: a source starts with")
