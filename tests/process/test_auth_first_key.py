"""The admin key of the first start, where the disk does not take it yet."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest
import trio
from structlog.testing import capture_logs

from camd.auth.authenticator import FirstKey, open_authenticator
from camd.auth.key_file import KeyFile, make_first_key
from camd.clock import SYSTEM_CLOCK, Clock
from camd.config.schema import AuthConfig
from camd.errors import ConfigError

NOW = datetime(2026, 5, 4, tzinfo=UTC)


@attrs.define(eq=False)
class RefusingDisk:
    """A disk that refuses the key with an error, until `error` is 0."""

    error: int
    tries: int = 0

    def make(self, file: KeyFile, state_dir: Path, *, now: datetime) -> Path | None:
        """Make the key, or fail as the disk does."""
        self.tries += 1
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        return make_first_key(file, state_dir, now=now)


@attrs.define(eq=False)
class SetClock:
    """A monotonic clock that a test sets."""

    seconds: float = 1000.0

    @property
    def clock(self) -> Clock:
        """The clock as camd reads it."""
        return Clock(now=lambda: NOW, monotonic=lambda: self.seconds)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS])
def test_a_key_that_found_no_space_is_written_later(tmp_path: Path, error: int) -> None:
    """It is tried again now and then, what is wrong is logged once, and then it is made once."""
    disk, time = RefusingDisk(error), SetClock()
    file = KeyFile(tmp_path / "keys.toml")
    key = FirstKey(file, tmp_path, time.clock, disk.make)
    with capture_logs() as logs:
        for _ in range(30):
            key.make()
            time.seconds += 1.0
        assert disk.tries == 3
        disk.error = 0
        for _ in range(30):
            key.make()
            time.seconds += 1.0
    assert disk.tries == 4
    assert [each["event"] for each in logs] == ["admin_key_not_written", "admin_key_written"]
    words = "Free space" if error == errno.ENOSPC else "writable"
    assert words in logs[0]["suggestion"]
    assert [each.name for each in file.load()] == ["admin"]


def test_a_key_file_that_cannot_be_written_is_left_alone(tmp_path: Path) -> None:
    """Somebody made it so: the key would be written and removed again for ever."""
    disk, time = RefusingDisk(errno.EROFS), SetClock()
    file = KeyFile(tmp_path / "keys.toml")
    file.path.touch()
    key = FirstKey(file, tmp_path, time.clock, disk.make)
    for _ in range(30):
        key.make()
        time.seconds += 1.0
    assert disk.tries == 1


async def test_a_key_file_of_another_user_says_so(tmp_path: Path) -> None:
    """A start as root leaves one, which the service then cannot read."""
    keys = tmp_path / "keys.toml"
    keys.touch(mode=0o000)
    if os.access(keys, os.R_OK):
        pytest.skip("root may read everything")
    with trio.fail_after(300), pytest.raises(ConfigError, match="chown -R"):
        async with open_authenticator(AuthConfig(), tmp_path, clock=SYSTEM_CLOCK):
            raise AssertionError("opened")
