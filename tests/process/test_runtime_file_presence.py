"""Whether a file is there has three answers, and the third one is an error, on every Python."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

import pytest

from camd.config.load import find_file
from camd.errors import ConfigError
from camd.runtime.file_presence import is_name_taken, is_regular_file, is_there, mode_of
from camd.runtime.path_lookup import BoundedFileCalls
from camd.sources import parse_source
from camd.storage.disk import PosixDisk

UNANSWERED = "x" * 300  # no file system says whether it has a name of this length


def test_a_file_is_there_or_it_is_not(tmp_path: Path) -> None:
    """A link counts as what it leads to; what is below a file, or behind a loop, is not there."""
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("none")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("file", "link"):
        assert is_there(tmp_path / name)
        assert is_regular_file(tmp_path / name)
    assert (is_there(tmp_path), is_regular_file(tmp_path)) == (True, False)
    assert stat.S_ISDIR(mode_of(tmp_path) or 0)
    for name in ("none", "dangling", "loop", "file/below"):
        assert not is_there(tmp_path / name)
        assert not is_regular_file(tmp_path / name)
        assert mode_of(tmp_path / name) is None
        assert is_name_taken(tmp_path / name) is (name in ("dangling", "loop"))


ASKING = [is_there, is_name_taken, is_regular_file, mode_of, PosixDisk().locate, PosixDisk().exists]


@pytest.mark.parametrize("ask", ASKING)
def test_no_answer_is_an_error(tmp_path: Path, ask: object) -> None:
    """What the file system does not say is not taken for absent."""
    assert callable(ask)
    with pytest.raises(OSError, match="too long") as caught:
        ask(tmp_path / UNANSWERED)
    assert caught.value.errno == errno.ENAMETOOLONG


async def test_a_node_that_cannot_be_looked_at_may_be_there() -> None:
    """A camera is not taken for unplugged because nobody may look at its node."""
    lookup = BoundedFileCalls()
    for name, missing in ((UNANSWERED, False), ("nowhere", True)):
        source = parse_source(f"v4l2:/dev/{name}", Path("/"))
        assert await source.is_missing(lookup) is missing


def test_a_configuration_that_may_be_there_is_not_passed_over() -> None:
    """Otherwise a command would work on the folders of another configuration."""
    for environ in ({"XDG_CONFIG_HOME": f"/{UNANSWERED}"}, {"HOME": f"/{UNANSWERED}"}):
        with pytest.raises(ConfigError, match="cannot be read: File name too long"):
            find_file(None, environ, Path("/nowhere/camd.toml"))
