"""Raw tables become sections: nothing is coerced, and every mistake has its path."""

from __future__ import annotations

import zoneinfo
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from camd.config.changes import ConfigChanges, compare, merge, postpone
from camd.config.environment import read_environment, variables_of
from camd.config.keys import ConfigKey, config_keys_of
from camd.config.parse import ParsedConfig, find_mistakes, parse_config
from camd.config.schema import (
    ENTRIES,
    MAX_SCHEDULES,
    SECTIONS,
    CameraConfig,
    Config,
    DiscoveryConfig,
    MediaMtxConfig,
    RecordingConfig,
    ScheduleConfig,
    SnapshotsConfig,
)
from camd.config.values import PathBases, PeerRules
from camd.model import CameraId
from camd.model.schedule_values import TimeOfDay
from camd.sources import SyntheticSource, V4l2Source

KEYS = [
    (section, name, key)
    for section, cls in (*SECTIONS.items(), *ENTRIES.items())
    for name, key in config_keys_of(cls).items()
]
BASES = PathBases(folder=Path("/etc/camd"), data=Path("/var/lib/camd"), home=Path("/home/eve"))


def read(text: str) -> ParsedConfig:
    """Read a piece of TOML, without an environment."""
    return parse_config(tomli.loads(text), {}, BASES)


def only_mistake(text: str) -> str:
    """Return the one mistake that is in a piece of TOML."""
    (mistake,) = read(text).mistakes
    return mistake


def test_every_field_of_a_section_is_a_declared_key() -> None:
    """A field without reader and documentation cannot be added to a section by accident."""
    fields = {field.name for field in attrs.fields(Config)} - {"cameras", "schedules", "file"}
    assert fields == SECTIONS.keys()
    for cls in (*SECTIONS.values(), *ENTRIES.values()):
        assert config_keys_of(cls).keys() == {field.name.rstrip("_") for field in attrs.fields(cls)}


@pytest.mark.parametrize(
    ("section", "name", "key"), [each for each in KEYS if each[2].written is not None]
)
def test_a_key_that_is_written_with_its_default_changes_nothing(
    section: str, name: str, key: ConfigKey
) -> None:
    """The documented default lies within the bounds, and is what applies without the key."""
    table: dict[str, object] = {name: key.written}
    if section == "schedule":
        table |= {"cameras": "a", "from": "20:00", "to": "06:00"}
        result = parse_config({"schedule": [table]}, {}, PathBases(Path(), Path()))
        assert result.schedules[0] == attrs.evolve(
            ScheduleConfig(), cameras=("a",), from_=TimeOfDay(72_000), to=TimeOfDay(21_600)
        )
    elif section == "camera":
        result = parse_config(
            {"camera": [{"source": "test:", **table}]}, {}, PathBases(Path(), Path())
        )
        assert result.cameras == {0: CameraConfig(source=SyntheticSource())}
    else:
        result = parse_config({section: table}, {}, PathBases(Path(), Path()))
        assert result.sections[section] == SECTIONS[section]()
    assert result.mistakes == []


@pytest.mark.parametrize(("section", "name", "key"), KEYS)
def test_a_key_is_documented_by_sentences(section: str, name: str, key: ConfigKey) -> None:
    """Sentences of one paragraph, which a comment and `camd check --keys` can show."""
    assert key.doc.endswith(".")
    assert key.doc == " ".join(key.doc.split())


def test_an_alias_stands_for_one_key() -> None:
    """Two keys with one variable could not be told apart."""
    named = [variable for section, name, _ in KEYS for variable in variables_of(section, name)]
    assert len(named) == len(set(named))
    assert variables_of("storage", "warn_percent") == (
        "CAMD_STORAGE__WARN_PERCENT",
        "STORAGE_WARN_PERCENT",
    )
    assert variables_of("camera", "fps") == ()


def test_every_default_is_a_value_that_the_readers_take() -> None:
    """An empty file is valid."""
    assert read("").mistakes == []
    config = Config()
    assert find_mistakes({"server": config.server, "storage": config.storage}, {}) == []


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("server.max_connections = '5'", "server.max_connections: must be a whole number"),
        ("server.max_connections = 7.9", "server.max_connections: must be a whole number"),
        ("server.max_connections = true", "server.max_connections: must be a whole number"),
        ("server.max_connections = 0", "from 1 to 100000, not 0"),
        ("server.listen = []", "server.listen: must name at least one address"),
        ("server.listen = ['a:1', 'a']", "server.listen: item 1 'a' is not an address"),
        ("server.listen = ['a:1', 'a:1']", "server.listen: names an address twice"),
        ("server.path = 'ws'", "server.path: must be a path such as"),
        ("server.origins = ['example.org']", "server.origins: item 0 must be an origin"),
        ("server.origins = ['https://a.b/']", "without a path"),
        ("server.lisen = 'a:1'", "server.lisen: unknown key; did you mean 'listen'?"),
        ("auth.enabled = 'false'", "auth.enabled: must be true or false, without quotes"),
        ("auth.enabled = 0", "auth.enabled: must be true or false"),
        ("auth.legacy_dialect = 'no'", "must be one of auto, always, never, not 'no'"),
        ("storage.warn_percent = 96", "storage.warn_percent: must be a number from 1 to 95"),
        ("storage.warn_percent = nan", "storage.warn_percent: must be a number"),
        ("storage.durability = 5", "storage.durability: must be text in quotes, not a number"),
        ("storage.recordings_dir = ''", "storage.recordings_dir: is not a path"),
        ("recording.rotation = '25h'", "recording.rotation: must be 1s to 24h, not '25h'"),
        ("recording.rotation = '0.5s'", "recording.rotation: must be 1s to 24h"),
        ("recording.rotation = 2026-01-01", "recording.rotation: must be a duration"),
        ("recording.fragment = '50ms'", "recording.fragment: must be 100ms to 5s"),
        ("recording.max_file_size = '2G'", "recording.max_file_size: '2G' is not a size"),
        ("recording.max_file_size = 5", "recording.max_file_size: must be from 1048576"),
        ("recording.format = 'avi'", "recording.format: must be one of mp4, mkv, not 'avi'"),
        ("mediamtx.api = '127.0.0.1'", "mediamtx.api: must be a URL such as"),
        ("mediamtx.api = 'http://u:p@h'", "mediamtx.api: must not hold credentials"),
        ("mediamtx.rtsp = 'rtsp://u:p@h'", "mediamtx.rtsp: must not hold credentials"),
        ("mediamtx.publish = true", "mediamtx.publish: must be text in quotes"),
        ("mediamtx.prefix = '/a'", "mediamtx.prefix: must be text such as"),
        ("mediamtx.viewers = ['srt']", "mediamtx.viewers: item 0 must be one of rtsp, hls, webrtc"),
        ("schedule = {cameras = 'a'}", "schedule: write each schedule as [[schedule]]"),
        ("schedule = [{from = '1:00'}]", "schedule[0].from: must be a time from"),
        ("schedule = [{from = '24:30'}]", "schedule[0].from: must be a time from"),
        ("schedule = [{to = 20}]", "schedule[0].to: must be text in quotes, not a number"),
        ("schedule = [{to = 2026-01-01T10:00:00}]", "schedule[0].to: must be text in quotes"),
        ("schedule = [{to = 10:00:00.5}]", "schedule[0].to: must be text in quotes"),
        ("schedule = [{cameras = []}]", "schedule[0].cameras: must name at least one"),
        ("schedule = [{cameras = ['a', 'a']}]", "schedule[0].cameras: names a camera twice"),
        ("schedule = [{cameras = 'Gate 1'}]", "schedule[0].cameras: must be the id of a camera"),
        ("schedule = [{cameras = ['*']}]", "schedule[0].cameras: item 0 must be the id"),
        ("schedule = [{days = []}]", "schedule[0].days: must name at least one day"),
        ("schedule = [{days = ['Monday']}]", "schedule[0].days: must be days such as"),
        ("schedule = [{days = 'mon-'}]", "schedule[0].days: must be days such as"),
        ("schedule = [{days = [1]}]", "schedule[0].days: item 0 must be text in quotes"),
        ("schedule = [{timezone = 'Europe/Berln'}]", "did you mean 'Europe/Berlin'?"),
        ("schedule = [{timezone = '../../etc/passwd'}]", "is no time zone; write one such as"),
        ("schedule = [{timezone = 'Europe'}]", "schedule[0].timezone: 'Europe' is no time zone"),
        ("schedule = [{timezone = 'zone.tab'}]", "schedule[0].timezone: 'zone.tab' is no time"),
        ("schedule = [{timezone = ''}]", "schedule[0].timezone: '' is no time zone"),
        ("schedule = [{enabled = 'no'}]", "schedule[0].enabled: must be true or false"),
        ("schedule = [{name = ''}]", "schedule[0].name: must be 1 to 64 characters"),
        ("schedule = [{from_ = '20:00'}]", "schedule[0].from_: unknown key; did you mean 'from'?"),
        ("schedule = [{camera = 'a'}]", "schedule[0].camera: unknown key; did you mean 'cameras'?"),
        ("schedule = [5]", "schedule[0]: must be a table, not a number"),
        ("discovery.ignore = 'a'", "discovery.ignore: must be a list in square brackets"),
        ("server = 5", "server: must be a table, not a number"),
        ("servers = {}", "servers: unknown section; did you mean 'server'?"),
        ("cameras = []", "cameras: unknown section; did you mean 'camera'?"),
        ("camera = {source = 'test:'}", "camera: write each camera as [[camera]]"),
        ("camera = [5]", "camera[0]: must be a table, not a number"),
        ("camera = [{}]", "camera[0].source: is missing"),
        ("camera = [{source = 'test:', id = 'Gate 1'}]", "camera[0].id: must be 1 to 64 small"),
        ("camera = [{source = 'test:', fps = '30'}]", "camera[0].fps: must be a number"),
        ("camera = [{source = 'test:', name = \"a\\nb\"}]", "camera[0].name: must be one line"),
        ("camera = [{source = 'test:', bitrate = '4MB'}]", "camera[0].bitrate: '4MB' is not"),
        ("camera = [{source = 'test:', input_options = '-an'}]", "must be a list"),
        ("camera = [{source = 'test:', width = 5}]", "camera[0].width: unknown key"),
        ("camera = [{id = 'a', controls = 'gain=1'}]", "camera[0].controls: must be a table"),
        ("camera = [{id = 'a', controls = {Gain = 1}}]", "'Gain' must be a name such as"),
        ("camera = [{id = 'a', controls = {gain = 1.5}}]", "gain must be a whole number, true"),
        ("camera = [{id = 'a', controls = {gain = [1]}}]", "text in quotes, not a list"),
        ("camera = [{id = 'a', controls = {gain = 9223372036854775808}}]", "gain is not a number"),
    ],
)
def test_a_mistake_is_named_by_its_path(text: str, mistake: str) -> None:
    """The message has the path, the mistake and what would be valid; nothing is coerced."""
    assert mistake in only_mistake(text)


def test_all_mistakes_are_reported_at_once() -> None:
    """One mistake does not hide those in other keys, sections or cameras."""
    result = read(
        """
        [server]
        max_connections = 0
        pth = "/ws"
        [recording]
        format = "avi"
        [[camera]]
        source = "test:"
        [[camera]]
        source = "test"
        fps = 0
        """
    )
    assert [mistake.split(":")[0] for mistake in result.mistakes] == [
        "server.max_connections",
        "server.pth",
        "recording.format",
        "camera[1].source",
        "camera[1].fps",
    ]
    assert result.cameras.keys() == {0}


@given(st.sampled_from(["'{}'", "12345678901234567890", "['{}']"]))
def test_a_refused_secret_is_not_repeated(form: str) -> None:
    """A short secret, or one of the wrong type, is not in the message."""
    secret = "hunter2" if "{}" in form else "12345678901234567890"
    mistake = only_mistake(f"auth.jwt_secret = {form.format(secret)}")
    assert mistake.startswith("auth.jwt_secret: ")
    assert secret not in mistake


def test_relative_paths_start_where_people_expect() -> None:
    """Certificates start at the folder of the file, recordings at the data folder, ~ at home."""
    result = read(
        """
        [server]
        tls_cert = "cert.pem"
        tls_key = "~/key.pem"
        [storage]
        recordings_dir = "rec"
        snapshots_dir = "/srv/snapshots"
        """
    )
    server, storage = result.sections["server"], result.sections["storage"]
    assert server.tls_cert == Path("/etc/camd/cert.pem")  # type: ignore[attr-defined]
    assert server.tls_key == Path("/home/eve/key.pem")  # type: ignore[attr-defined]
    assert storage.recordings_dir == Path("/var/lib/camd/rec")  # type: ignore[attr-defined]
    assert storage.snapshots_dir == Path("/srv/snapshots")  # type: ignore[attr-defined]


def test_controls_keep_their_order_and_their_types() -> None:
    """Numbers and texts stay; flags become 0 and 1."""
    result = read(
        """
        [[camera]]
        source = "v4l2:/dev/video0"
        controls = { exposure_auto = "manual", gain = -3, focus_auto = false, mirror = true }
        """
    )
    controls = result.cameras[0].controls
    assert controls == (("exposure_auto", "manual"), ("gain", -3), ("focus_auto", 0), ("mirror", 1))
    assert {type(value) for _, value in controls} == {int, str}


# --- the environment ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "text", "place", "value"),
    [
        ("CAMD_SERVER__MAX_CONNECTIONS", "5", ("server", "max_connections"), 5),
        ("CAMD_SERVER__MAX_CONNECTIONS", "5.5", ("server", "max_connections"), "5.5"),
        ("CAMD_SERVER__LISTEN", "a:1, unix:/s", ("server", "listen"), ["a:1", "unix:/s"]),
        ("CAMD_SERVER__HEALTH_LISTEN", "", ("server", "health_listen"), ""),
        ("CAMD_AUTH__ENABLED", "False", ("auth", "enabled"), False),
        ("CAMD_AUTH__ENABLED", "0", ("auth", "enabled"), "0"),
        ("CAMD_AUTH__JWT_SECRET", "1" * 40, ("auth", "jwt_secret"), "1" * 40),
        ("CAMD_STORAGE__WARN_PERCENT", "79.5", ("storage", "warn_percent"), 79.5),
        ("CAMD_RECORDING__ROTATION", "10m", ("recording", "rotation"), "10m"),
        ("CAMD_RECORDING__MAX_FILE_SIZE", "2GiB", ("recording", "max_file_size"), "2GiB"),
        ("RECORDING_ROTATION_MINUTES", "1440", ("recording", "rotation"), 86400),
        ("STORAGE_WARN_PERCENT", "70", ("storage", "warn_percent"), 70),
        ("STORAGE_BLOCK_PERCENT", "85", ("storage", "block_percent"), 85),
        ("CAMERA_SERVICE_JWT_SECRET", "s" * 32, ("auth", "jwt_secret"), "s" * 32),
    ],
)
def test_a_variable_is_given_the_type_of_its_key(
    variable: str, text: str, place: tuple[str, str], value: object
) -> None:
    """Text that fits becomes a number, a flag or a list; the readers refuse the rest."""
    overlay = read_environment({variable: text, "HOME": "/root"})
    assert overlay.values == {place: value}
    assert overlay.variables == {place: variable}
    assert overlay.mistakes == ()


@pytest.mark.parametrize("minutes", ["0", "1441", "30m", "-1", "1.5"])
def test_rotation_minutes_are_whole_and_bounded(minutes: str) -> None:
    """The variable has its own bounds."""
    overlay = read_environment({"RECORDING_ROTATION_MINUTES": minutes})
    assert overlay.values == {}
    assert "1 to 1440" in overlay.mistakes[0]


def test_variables_that_name_nothing_are_mistakes() -> None:
    """A misspelt variable would otherwise be ignored in silence."""
    overlay = read_environment(
        {"CAMD_SERVER__PTH": "/ws", "CAMD_SERVR__PATH": "/ws", "CAMD_TOKEN": "x", "CAMD_CONFIG": ""}
    )
    assert overlay.mistakes == (
        "CAMD_SERVER__PTH: unknown key; did you mean 'path'?",
        "CAMD_SERVR__PATH: unknown section; did you mean 'server'?",
    )


def test_the_longer_name_wins_over_the_shared_one() -> None:
    """CAMD_… overrides an alias, which other services read, too."""
    overlay = read_environment({"STORAGE_WARN_PERCENT": "70", "CAMD_STORAGE__WARN_PERCENT": "60"})
    assert overlay.values == {("storage", "warn_percent"): 60}


def test_an_empty_shared_variable_counts_as_unset() -> None:
    """Container set-ups may pass on variables without a value."""
    overlay = read_environment({"STORAGE_WARN_PERCENT": "", "RECORDING_ROTATION_MINUTES": ""})
    assert overlay.values == {}
    assert overlay.mistakes == ()


def test_a_mistake_from_the_environment_names_its_variable() -> None:
    """The message names the variable."""
    variables = {("server", "path"): "CAMD_SERVER__PATH"}
    result = parse_config({"server": {"path": "ws"}}, variables, BASES)
    assert result.mistakes[0].startswith("server.path (from CAMD_SERVER__PATH): must be")


def test_secrets_do_not_show_in_the_overlay() -> None:
    """The overlay's repr leaves its values out."""
    assert "s" * 32 not in repr(read_environment({"CAMERA_SERVICE_JWT_SECRET": "s" * 32}))


# --- changes ------------------------------------------------------------------------------


def camera(name: str, **keys: object) -> CameraConfig:
    """Return a synthetic camera."""
    return CameraConfig(id=CameraId(name), source=SyntheticSource(), device=name, **keys)  # type: ignore[arg-type]


def test_a_configuration_does_not_differ_from_itself() -> None:
    """No changes are reported."""
    assert compare(Config(), Config()) == compare(Config(cameras=()), Config())
    assert compare(Config(), Config()).applied == ()


def test_changes_are_split_by_what_a_running_service_applies() -> None:
    """Rotation and cameras apply, new, changed and removed ones; some keys need a restart."""
    old = Config(cameras=(camera("a"), camera("b"), camera("c")))
    new = Config(
        recording=RecordingConfig(rotation=old.recording.rotation * 2, resume_sessions=False),
        mediamtx=MediaMtxConfig(),
        cameras=(camera("a", fps=5.0), camera("b"), camera("d")),
    )
    changes = compare(old, new)
    cameras = ("camera.a", "camera.c", "camera.d")
    assert changes.applied == ("recording.rotation", "mediamtx", *cameras)
    assert changes.restart_needed == ("recording.resume_sessions",)
    assert merge(old, new).cameras == new.cameras


def test_answer_timeout_is_applied_by_a_reload() -> None:
    """A reload applies another answer_timeout."""
    new = Config(recording=RecordingConfig(answer_timeout=timedelta(minutes=5)))
    assert compare(Config(), new) == ConfigChanges(("recording.answer_timeout",), ())
    assert merge(Config(), new) == new


def test_the_media_server_and_the_limits_of_snapshots_are_applied_by_a_reload() -> None:
    """The section [mediamtx] comes, changes and goes; so do the limits of snapshots."""
    plain, limits = (
        Config(),
        SnapshotsConfig(max_age=timedelta(days=1), max_size=2**20, max_count=9),
    )
    first = Config(snapshots=limits, mediamtx=MediaMtxConfig(username="camd", password="one"))
    changes = compare(plain, first)
    assert changes.restart_needed == ()
    assert set(changes.applied) == {
        *("snapshots.max_age", "snapshots.max_size", "snapshots.max_count", "mediamtx")
    }
    assert merge(plain, first) == first
    second = attrs.evolve(first, mediamtx=MediaMtxConfig(username="camd", password="two"))
    assert compare(first, second) == ConfigChanges(("mediamtx.password",), ())
    assert merge(first, second) == second
    assert compare(second, plain).restart_needed == ()
    assert merge(second, plain) == plain


def test_another_preroll_needs_a_restart() -> None:
    """The pre-roll buffer is made when the camera starts."""
    new = Config(recording=RecordingConfig(preroll=timedelta(seconds=5), preroll_size=2**20))
    changes = compare(Config(), new)
    assert changes.applied == ()
    assert changes.restart_needed == ("recording.preroll", "recording.preroll_size")


def test_a_camera_that_cannot_be_taken_now_needs_a_restart() -> None:
    """It is not reported as applied."""
    changes = ConfigChanges(applied=("recording.rotation", "camera.c", "camera.d"))
    assert postpone(changes, ["d"]) == ConfigChanges(
        ("recording.rotation", "camera.c"), ("camera.d",)
    )


def test_a_service_that_looks_for_no_devices_takes_no_camera_of_this_machine() -> None:
    """It would never find it, so that needs a restart; a reload adds streams."""
    blind = Config(discovery=DiscoveryConfig(v4l2=False))
    usb = CameraConfig(CameraId("usb"), V4l2Source(serial="A1"))
    clip = CameraConfig(CameraId("clip"), SyntheticSource())
    new = attrs.evolve(blind, cameras=(usb, clip))
    assert compare(blind, new) == ConfigChanges(("camera.clip",), ("camera.usb",))
    assert merge(blind, new).cameras == (clip,)
    moved = attrs.evolve(blind, cameras=(attrs.evolve(usb, id=clip.id),))
    before = attrs.evolve(blind, cameras=(clip,))
    assert compare(before, moved) == ConfigChanges((), ("camera.clip",))
    assert merge(before, moved).cameras == (clip,)
    seeing = attrs.evolve(blind, cameras=(CameraConfig(CameraId("a"), V4l2Source(port="1-1")),))
    more = attrs.evolve(seeing, cameras=(*seeing.cameras, usb))
    assert compare(seeing, more).applied == ("camera.usb",)


def test_what_runs_after_a_reload_is_the_old_with_the_applied_changes() -> None:
    """Comparing the merged configuration with the new one leaves what needs a restart."""
    old = Config(cameras=(camera("a"), camera("c")))
    new = Config(
        recording=RecordingConfig(format="mkv", resume_sessions=False),
        cameras=(camera("a", fps=5.0), camera("d")),
    )
    merged = merge(old, new)
    assert compare(old, merged).restart_needed == ()
    assert compare(old, merged).applied == compare(old, new).applied
    assert compare(merged, new).applied == ()
    assert compare(merged, new).restart_needed == compare(old, new).restart_needed


def test_changes_name_keys_and_never_values() -> None:
    """Only the path of a changed secret is reported."""
    old = Config()
    new = attrs.evolve(old, auth=attrs.evolve(old.auth, jwt_secret="s" * 32))
    assert compare(old, new).restart_needed == ("auth.jwt_secret",)


def test_an_encoder_is_a_name_or_left_to_the_trial() -> None:
    """FFmpeg's names are small letters, digits and underscores; everything else is refused."""
    given = read('ffmpeg.encoder = "h264_vaapi"').sections["ffmpeg"]
    assert given.encoder == "h264_vaapi"  # type: ignore[attr-defined]
    assert read("").sections["ffmpeg"].encoder == "auto"  # type: ignore[attr-defined]
    mistake = only_mistake('ffmpeg.encoder = "libx264 -preset"')
    assert mistake.startswith('ffmpeg.encoder: must be "auto" or a name such as "h264_vaapi"')


def test_cameras_by_serial_number_or_port_are_different_cameras() -> None:
    """Only equal sources are the same camera; entries without a source have none yet."""
    sources = [V4l2Source(serial="A"), V4l2Source(serial="B"), V4l2Source(port="A"), V4l2Source()]
    sources += [V4l2Source(), V4l2Source(serial="B")]
    cameras = {
        index: CameraConfig(CameraId(f"camera{index}"), source)
        for index, source in enumerate(sources)
    }
    (mistake,) = find_mistakes({}, cameras)
    assert mistake.startswith("camera[5].source: camera[1] has this")


def test_swap_is_alarm_or_accept() -> None:
    """Another camera in the place of a known one causes a problem, or is accepted."""
    assert read("[[camera]]\nid = 'a'\nswap = 'accept'").cameras[0].swap == "accept"
    assert read("[[camera]]\nid = 'a'").cameras[0].swap == "alarm"
    mistake = only_mistake("[[camera]]\nid = 'a'\nswap = 'yes'")
    assert "must be one of alarm, accept, not 'yes'" in mistake


def test_peers_have_roles_by_user_and_group() -> None:
    """Names and numbers of accounts, each with a role."""
    text = "[auth.peers]\nusers = { alice = 'operator', 1001 = 'viewer' }\ngroups.video = 'admin'"
    auth = read(text).sections["auth"]
    assert auth.peers == PeerRules(  # type: ignore[attr-defined]
        users=(("alice", "operator"), ("1001", "viewer")), groups=(("video", "admin"),)
    )
    assert read("").sections["auth"].peers == PeerRules()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("'alice'", "must be a table such as"),
        ("{ alice = 'viewer' }", "'alice' is neither users nor groups"),
        ("{ users = ['alice'] }", "users must be a table, not a list"),
        ("{ users = { alice = 'root' } }", "users.alice must be one of viewer, operator, admin"),
        ("{ groups = { video = true } }", "groups.video must be text in quotes"),
        ("{ users = { '' = 'viewer' } }", "users has '', which is neither"),
        ("{ users = { 'a b' = 'viewer' } }", "users has 'a b', which is neither"),
        ("{ users = { 4294967295 = 'viewer' } }", "users has '4294967295'"),
    ],
)
def test_wrong_peers_are_named(value: str, words: str) -> None:
    """The mistake names the entry and says what would be right."""
    mistake = only_mistake(f"auth.peers = {value}")
    assert mistake.startswith("auth.peers: ")
    assert words in mistake


# --- schedules ------------------------------------------------------------------------------


def read_schedule(text: str) -> ScheduleConfig:
    """Read the keys of a schedule, beside those that it must have."""
    found = read(f"[[schedule]]\ncameras = 'a'\nfrom = '20:00'\nto = '06:00'\n{text}")
    assert found.mistakes == []
    return found.schedules[0]


def test_every_key_that_a_schedule_must_have_is_asked_for() -> None:
    """Each missing one is a mistake of its own."""
    assert read("schedule = [{}]").mistakes == [
        "schedule[0].cameras: is missing",
        "schedule[0].from: is missing",
        "schedule[0].to: is missing",
    ]


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("", "mon tue wed thu fri sat sun"),
        ("days = 'sun'", "sun"),
        ("days = ['sun', 'mon-wed', 'tue']", "mon tue wed sun"),
        ("days = 'fri-mon'", "mon fri sat sun"),
    ],
)
def test_days_and_ranges_become_days_in_order(text: str, days: str) -> None:
    """Each once; a range may go over the end of the week."""
    assert read_schedule(text).days == tuple(days.split())


def test_a_schedule_may_write_its_times_in_each_way() -> None:
    """With seconds, as TOML's own times, and the end of the day."""
    text = "[[schedule]]\ncameras = '*'\nfrom = 06:30:15\nto = '24:00'"
    found = read(text).schedules[0]
    assert (str(found.from_), str(found.to)) == ("06:30:15", "24:00")
    assert (found.cameras, found.records("any")) == (("*",), True)
    assert not read_schedule("").records("b")


def test_zones_of_one_name_are_equal() -> None:
    """So that a reload without a change is none; UTC needs no database."""
    berlin = "timezone = 'Europe/Berlin'"
    assert read_schedule(berlin) == read_schedule(berlin)
    assert read_schedule(berlin) != read_schedule("timezone = 'UTC'")


def test_without_a_time_zone_database_the_mistake_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Only UTC is known then. The search path of zoneinfo belongs to the machine."""
    zoneinfo.ZoneInfo.clear_cache()
    before = zoneinfo.TZPATH
    try:
        zoneinfo.reset_tzpath([tmp_path])
        mistake = only_mistake("schedule = [{timezone = 'Europe/Berlin'}]")
        assert "no time zone database; install the package tzdata" in mistake
        assert read_schedule("timezone = 'UTC'").timezone.name == "UTC"
    finally:
        zoneinfo.reset_tzpath(before)


def test_too_many_schedules_are_one_mistake() -> None:
    """Each call that lists them computes all."""
    text = "[[schedule]]\ncameras = 'a'\nfrom = '20:00'\nto = '06:00'\n" * (MAX_SCHEDULES + 1)
    assert only_mistake(text) == "schedule: 257 entries; 256 are the most"


def test_a_reload_applies_schedules() -> None:
    """New, changed and removed ones are named; the same ones are not."""
    one = attrs.evolve(read_schedule(""), name="one")
    two, three = attrs.evolve(one, name="two"), attrs.evolve(one, name="three")
    old, new = Config(schedules=(one, two)), Config(schedules=(one, three))
    assert compare(old, new).applied == ("schedule.two", "schedule.three")
    changed = Config(schedules=(attrs.evolve(one, enabled=False), two))
    assert compare(old, changed) == ConfigChanges(applied=("schedule.one",))
    assert merge(old, new).schedules == (one, three)
    assert compare(old, old) == ConfigChanges()
