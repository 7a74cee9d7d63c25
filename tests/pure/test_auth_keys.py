"""API keys: kept as hashes, changed atomically, revoked while the service runs."""

from __future__ import annotations

import stat
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.auth.authenticator import Authenticator
from camd.auth.key_file import (
    MAX_KEYS,
    ApiKey,
    KeyFile,
    KeyFileError,
    NameTakenError,
    TooManyKeysError,
    digest,
    find_api_key,
    make_first_key,
    new_secret,
    parse_key_file,
    render_key_file,
)
from camd.auth.key_names import is_key_name
from camd.auth.tokens import AuthFailure, InvalidCredentialsError
from camd.rpc.roles import AuthMethod, Role

CREATED = datetime(2026, 1, 15, 14, 30, tzinfo=UTC)
NOW = CREATED.timestamp()

api_keys = st.builds(
    ApiKey,
    name=st.text(min_size=1).filter(str.isprintable),
    role=st.sampled_from(Role),
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    created=st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)),
    expires=st.none() | st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)),
)


@given(st.lists(api_keys))
def test_the_files_text_says_everything(keys: list[ApiKey]) -> None:
    """Keys with any names are read back as they were written."""
    assert parse_key_file(render_key_file(keys)) == tuple(keys)


@given(st.text())
def test_a_broken_file_is_an_error_with_a_name(text: str) -> None:
    """Any text is keys or a KeyFileError."""
    with suppress(KeyFileError):
        parse_key_file(text)


@pytest.mark.parametrize(
    "text", ["key = 5", "[[key]]", '[[key]]\nname="a"\nrole="god"\nsha256="%s"' % ("0" * 64)]
)
def test_half_an_entry_is_an_error(text: str) -> None:
    """An incomplete entry is an error and is not skipped."""
    with pytest.raises(KeyFileError):
        parse_key_file(text)


FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
PERSIAN = "\u062e\u0627\u0646\u0647\u200c\u0647\u0627"  # "houses"
JOINED = "\u0915\u094d\u200d\u0937"  # Devanagari: a half letter


@pytest.mark.parametrize("name", ["Ann", "Zo\u00eb", FAMILY, f"Ann {FAMILY}", PERSIAN, JOINED])
def test_a_name_may_have_joiners_where_they_belong(name: str) -> None:
    """Emoji of several parts, and scripts whose letters are joined."""
    assert is_key_name(name, 64)


UNSEEN = (
    "A\u200dnn",
    "Ann\u200d",
    "\u200cAnn",
    "A\u200b",
    "a\n",
    "\u202eAnn",
    "\ufeffAnn",
    " ",
    "",
)
MISPLACED = (f"{FAMILY}\u200d", f"\u200d{PERSIAN}", "\u0647\u200c\u200d\u0647", "x" * 65)


@pytest.mark.parametrize("name", UNSEEN + MISPLACED)
def test_a_name_has_no_character_without_effect(name: str) -> None:
    """Nothing that is not seen, at the ends, between Latin letters, or twice."""
    assert not is_key_name(name, 64)


def test_names_that_look_the_same_are_one(tmp_path: Path) -> None:
    """A joiner makes no second key of a name; each is found by the name that it was given."""
    file = KeyFile(tmp_path / "keys.toml")
    add = partial(file.add, role=Role.VIEWER, created=CREATED, expires=None)
    add(PERSIAN)
    for name in (PERSIAN, PERSIAN.replace("\u200c", ""), PERSIAN.replace("\u200c", "\u200d")):
        with pytest.raises(NameTakenError):
            add(name)
    assert [each.name for each in file.load()] == [PERSIAN]
    assert file.revoke(PERSIAN)


def test_keys_are_long_and_different() -> None:
    """256 random bits behind a prefix; never two the same."""
    first, second = new_secret(), new_secret()
    assert first != second
    assert first.startswith("camd_")
    assert len(first) >= 48


def test_a_key_is_found_by_its_hash_alone() -> None:
    """The right one of several is found, and a wrong one is not."""
    keys = [ApiKey(n, Role.VIEWER, digest(n * 40), CREATED) for n in "abc"]
    assert find_api_key(keys, "b" * 40) == keys[1]
    assert find_api_key(keys, "d" * 40) is None


def test_keys_are_added_and_revoked(tmp_path: Path) -> None:
    """The file is private, holds no key in clear, and a name is taken once."""
    file = KeyFile(tmp_path / "keys.toml")
    secret = file.add("entrance", Role.OPERATOR, created=CREATED, expires=None)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert secret not in file.path.read_text()
    with pytest.raises(ValueError, match="entrance"):
        file.add("entrance", Role.VIEWER, created=CREATED, expires=None)
    assert [key.name for key in file.load()] == ["entrance"]
    assert file.revoke("entrance")
    assert not file.revoke("entrance")
    assert file.load() == ()
    assert [path.name for path in tmp_path.iterdir()] == ["keys.toml"]  # nothing left over


def test_the_number_of_keys_is_bounded(tmp_path: Path) -> None:
    """So the file stays one that can be read; a key that is revoked makes room."""
    file = KeyFile(tmp_path / "keys.toml")
    keys = [ApiKey(f"k{n}", Role.VIEWER, digest(str(n)), CREATED) for n in range(MAX_KEYS)]
    file.path.write_text(render_key_file(keys))
    with pytest.raises(TooManyKeysError):
        file.add("one more", Role.VIEWER, created=CREATED, expires=None)
    file.revoke("k0")
    file.add("one more", Role.VIEWER, created=CREATED, expires=None)
    assert len(file.load()) == MAX_KEYS


def test_the_first_start_leaves_one_admin_key(tmp_path: Path) -> None:
    """It is valid as admin; later starts make none, not even when all keys are revoked."""
    file = KeyFile(tmp_path / "keys.toml")
    path = make_first_key(file, tmp_path, now=CREATED)
    assert path == tmp_path / "admin.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    authenticator = Authenticator(api_keys=file.load())
    assert authenticator.identify(path.read_text().strip(), NOW).role is Role.ADMIN
    assert make_first_key(file, tmp_path, now=CREATED) is None
    file.revoke("admin")
    assert make_first_key(file, tmp_path, now=CREATED) is None


@pytest.mark.parametrize("name", ["entrance", "admin", "local-admin1"])
def test_keys_that_were_added_before_the_first_start_keep_nobody_out(
    tmp_path: Path, name: str
) -> None:
    """In any order, there is a working admin key afterwards, and the other keys stay valid."""
    file = KeyFile(tmp_path / "keys.toml")
    given = file.add(name, Role.VIEWER, created=CREATED, expires=None)
    file.add("admin" if name != "admin" else "x", Role.VIEWER, created=CREATED, expires=None)
    path = make_first_key(file, tmp_path, now=CREATED)
    assert path == tmp_path / "admin.key"
    authenticator = Authenticator(api_keys=file.load())
    local = authenticator.identify(path.read_text().strip(), NOW)
    assert local.role is Role.ADMIN
    assert authenticator.identify(given, NOW).role is Role.VIEWER
    assert make_first_key(file, tmp_path, now=CREATED) is None
    file.add("later", Role.VIEWER, created=CREATED, expires=None)
    file.revoke(local.name)
    path.unlink()
    assert make_first_key(file, tmp_path, now=CREATED) is None  # gone for good, as somebody wished


def test_an_admin_key_of_an_older_file_stays(tmp_path: Path) -> None:
    """In a file that does not record the first start, the key itself shows it."""
    file = KeyFile(tmp_path / "keys.toml")
    assert make_first_key(file, tmp_path, now=CREATED) is not None
    secret = (tmp_path / "admin.key").read_text()
    file.path.write_text(render_key_file(file.load()))
    assert make_first_key(file, tmp_path, now=CREATED) is None
    assert (tmp_path / "admin.key").read_text() == secret


def test_a_crash_between_the_two_files_leaves_nobody_out(tmp_path: Path) -> None:
    """A clear key that no file of keys knows is replaced by one that works."""
    file = KeyFile(tmp_path / "keys.toml")
    (tmp_path / "admin.key").write_text("camd_torn\n")
    file.add("entrance", Role.VIEWER, created=CREATED, expires=None)
    path = make_first_key(file, tmp_path, now=CREATED)
    assert path is not None
    authenticator = Authenticator(api_keys=file.load())
    assert authenticator.identify(path.read_text().strip(), NOW).role is Role.ADMIN


def test_a_running_service_notices_new_and_revoked_keys(tmp_path: Path) -> None:
    """After a refresh a new key is valid; a revoked one and its identities are not."""
    file = KeyFile(tmp_path / "keys.toml")
    authenticator = Authenticator(file=file)
    authenticator.refresh()
    secret = file.add("entrance", Role.VIEWER, created=CREATED, expires=None)
    authenticator.refresh()
    identity = authenticator.identify(secret, NOW)
    assert (identity.name, identity.via) == ("entrance", AuthMethod.API_KEY)
    generation = authenticator.generation
    authenticator.refresh()
    assert authenticator.generation == generation  # nothing has changed: nothing is read
    file.revoke("entrance")
    authenticator.refresh()
    assert authenticator.generation > generation
    assert authenticator.revoked(identity)
    with pytest.raises(InvalidCredentialsError) as caught:
        authenticator.identify(secret, NOW)
    assert caught.value.reason is AuthFailure.UNKNOWN_KEY


def test_a_broken_file_keeps_the_keys_that_were_there(tmp_path: Path) -> None:
    """A slip of the editor does not lock everybody out."""
    file = KeyFile(tmp_path / "keys.toml")
    secret = file.add("entrance", Role.VIEWER, created=CREATED, expires=None)
    authenticator = Authenticator(file=file)
    authenticator.refresh()
    file.path.write_text("[[key")
    authenticator.refresh()
    assert authenticator.identify(secret, NOW).name == "entrance"


def test_a_key_expires(tmp_path: Path) -> None:
    """From its expiry on it is refused."""
    file = KeyFile(tmp_path / "keys.toml")
    secret = file.add("tour", Role.VIEWER, created=CREATED, expires=CREATED + timedelta(seconds=1))
    authenticator = Authenticator(api_keys=file.load())
    assert authenticator.identify(secret, NOW + 0.5).expires_at == NOW + 1
    with pytest.raises(InvalidCredentialsError) as caught:
        authenticator.identify(secret, NOW + 1)
    assert caught.value.reason is AuthFailure.EXPIRED
