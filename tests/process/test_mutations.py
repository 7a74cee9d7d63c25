"""The table of `tests/mutations.py` fits the code: it is run by hand, and must not go stale."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from mutation.mutating import (
    Mutation,
    NotThereOnceError,
    Place,
    calls,
    functions_in,
    mutated,
    place_of,
)
from mutation.mutation_table import MUTATIONS

from camd.model import GapCause

ROOT = Path(__file__).resolve().parents[2]
SYNCS = ("fsync", "fdatasync", "sync", "sync_directory")
SUMS = ("crc32",)
# Timed by `watched`, not made; and a number of a camera, not a checksum.
NO_SYNCS = {
    "camd/storage/timed_disk.py": ("self._timer.sync()", "self._timer.sync()"),
    "camd/cli/checks/disk_speed.py": ("os.fdatasync(descriptor)",),  # it is what is measured
    "camd/cli/checks/filesystem_check.py": (  # they are what is tried
        "os.fdatasync(file.fileno())",
        "os.fsync(descriptor)",
    ),
}
NO_SUMS = {"camd/recording/rules/rotation.py": ("zlib.crc32(camera_id.encode())",)}


def sources() -> dict[str, str]:
    """Read the package."""
    files = sorted((ROOT / "camd").rglob("*.py"))
    return {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in files}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_fits_the_code(mutation: Mutation) -> None:
    """What it takes away is there once, something else stands there then, and its tests exist."""
    source = (ROOT / mutation.file).read_text(encoding="utf-8")
    assert mutated(mutation, source) != source
    assert mutation.tests
    for test in mutation.tests:
        file, _, name = test.partition("::")
        assert not name or name.partition("[")[0] in functions_in(ROOT / file)


def test_names_and_promises_tell_mutations_apart() -> None:
    """Each has a name of its own, and a promise that is a sentence."""
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)
    for mutation in MUTATIONS:
        assert mutation.guarantee[0].isupper()
        assert mutation.guarantee.endswith(".")


def _places(file: str, source: str) -> Iterator[Place]:
    for mutation in MUTATIONS:
        with suppress(NotThereOnceError):  # which is told by itself
            if mutation.file == file:
                yield place_of(mutation, source)


def _untouched(names: tuple[str, ...], exempt: dict[str, tuple[str, ...]]) -> list[str]:
    """Find the calls that no mutation takes away."""
    left = []
    for file, source in sources().items():
        places = list(_places(file, source))
        free = list(exempt.get(file, ()))
        for call in calls(source, *names):
            text = " ".join(source.splitlines()[call.lineno - 1].split())
            if any(known in text for known in free):
                free.remove(next(known for known in free if known in text))
            elif not any(place.holds(call) for place in places):
                left.append(f"{file}:{call.lineno}: {text}")
    return left


def test_every_sync_has_its_mutation() -> None:
    """Who adds a sync says what it is for, and which test notices when it goes."""
    assert _untouched(SYNCS, NO_SYNCS) == []


def test_every_checksum_has_its_mutation() -> None:
    """Who adds a checksum says what it is for, and which test notices when it goes."""
    assert _untouched(SUMS, NO_SUMS) == []


@pytest.mark.parametrize(
    "cause",
    [
        *("camera_lost", "camera_stalled", "camera_hung", "encoder_exit", "daemon_down"),
        *("storage_slow", "storage_full", "storage_error", "file_removed"),
        *("clock_step", "frames_dropped_by_source"),
    ],
)
def test_every_cause_has_its_mutation(cause: str) -> None:
    """For each kind of entry something tells when it is not made any more."""
    assert GapCause(cause).value == cause
    assert [each for each in MUTATIONS if each.name.partition(":")[0] == cause]


def test_code_is_found_however_it_is_written() -> None:
    """Line breaks, quotes and comments do not matter; what is not there once is an error."""
    head = "class A:\n    def b(self):\n"
    source = head + "        print('x',  # a word\n            1)\n        return 2\n"
    mutation = Mutation("n", "P.", "a.py:A.b", 'print("x", 1)', "", ("t",))
    assert mutated(mutation, source) == head + "        (None)\n        return 2\n"
    both = Mutation("n", "P.", "a.py:A.b", 'print("x", 1)\nreturn 2', "", ("t",))
    assert mutated(both, source) == head + "        pass\n"
    for where, old in (("a.py:A.b", "print(1)"), ("a.py:A.c", "2"), ("a.py", "1 + 1")):
        with pytest.raises(NotThereOnceError):
            mutated(Mutation("n", "P.", where, old, "", ("t",)), source)
