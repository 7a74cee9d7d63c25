"""Deletes what camd's guarantees rest on, one by one, and checks that a test notices.

    python tests/mutations.py [--list] [--only WORD ...] [--jobs 1]

`mutation/mutation_table.py` holds the deletions: each sync, each checksum, each entry of the
ledger, each bound. Every deletion is made alone, in a copy of the tree, and only the tests that it
names are run: one of them must fail. First they are run on the copy as it is, where none may fail.
Ends with 1 when a deletion was not noticed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import attrs
from mutation.mutating import Mutation, mutated
from mutation.mutation_table import MUTATIONS

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("camd", "tests", "examples", "systemd", "docs", "bench", "pyproject.toml", "README.md")
TIMEOUT_SECONDS = 600
HANGS_AFTER_SECONDS = 60  # of one test
# Without its bounds, code may take all memory of the machine.
LIMITED = """
import resource, sys, pytest
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
sys.exit(pytest.main(sys.argv[1:]))
"""
NOT_COLLECTED = (2, 3, 4, 5)  # pytest's own exit statuses: no test has run


@attrs.frozen
class Copy:
    """A copy of the tree, in which camd is imported from the copy."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Copy:
        """Copy what tests need."""
        junk = shutil.ignore_patterns("__pycache__", ".hypothesis", "*.pyc")
        for name in COPIED:
            source, target = ROOT / name, folder / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=junk)
            else:
                shutil.copy(source, target)
        return cls(folder)

    def test(self, ids: Iterable[str], *, keep: bool = False) -> tuple[int, str]:
        """Run tests; return pytest's exit status and what it said. `keep`: the compiled code."""
        environment = os.environ | {"PYTHONPATH": str(self.folder), "HYPOTHESIS_PROFILE": ""}
        if not keep:
            environment["PYTHONDONTWRITEBYTECODE"] = "1"
        command = [sys.executable, "-c", LIMITED, "-x", "-q", "-p", "no:cacheprovider"]
        command += ["-o", f"timeout={HANGS_AFTER_SECONDS}", *ids]
        try:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return 1, f"not over after {TIMEOUT_SECONDS} s"
        finally:
            shutil.rmtree(self.folder / ".hypothesis", ignore_errors=True)
        return done.returncode, done.stdout + done.stderr

    @contextmanager
    def with_mutation(self, mutation: Mutation) -> Iterator[None]:
        """Have the mutation in the copy while the block runs."""
        file = self.folder / mutation.file
        source = file.read_text(encoding="utf-8")
        for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
            compiled.unlink()  # times are too coarse to tell two versions apart
        file.write_text(mutated(mutation, source), encoding="utf-8")
        try:
            yield
        finally:
            file.write_text(source, encoding="utf-8")


def try_out(copy: Copy, mutation: Mutation) -> str:
    """Say what became of a mutation: killed, survived, or why it was not tried."""
    with copy.with_mutation(mutation):
        status, said = copy.test(mutation.tests)
    if status == 0:
        return "SURVIVED"
    if status in NOT_COLLECTED and "error" not in said.lower():
        return f"NOT TRIED: pytest ended with {status}"
    return "killed"


def chosen(words: Sequence[str]) -> list[Mutation]:
    """Choose the mutations whose name or file has one of the words; all without any."""
    return [
        each for each in MUTATIONS if not words or any(w in each.name + each.file for w in words)
    ]


def run(mutations: Sequence[Mutation], jobs: int) -> int:
    """Try all of them, and tell; 0 when each was noticed."""
    with tempfile.TemporaryDirectory(prefix="camd-mutations-") as folder:
        copies: SimpleQueue[Copy] = SimpleQueue()
        made = [Copy.make(Path(folder) / str(number)) for number in range(jobs)]
        ids = sorted({test for mutation in mutations for test in mutation.tests})
        print(f"{len(mutations)} mutations, {len(ids)} tests; first without any", flush=True)
        for copy in made:
            status, said = copy.test(ids, keep=True)
            if status != 0:
                print(said[-4000:], "The tests fail as it is: mend them first.", sep="\n")
                return 1
            copies.put(copy)

        def one(mutation: Mutation) -> tuple[Mutation, str, float]:
            copy, begun = copies.get(), time.monotonic()
            try:
                return mutation, try_out(copy, mutation), time.monotonic() - begun
            finally:
                copies.put(copy)

        bad = 0
        with ThreadPoolExecutor(jobs) as pool:
            for number, (mutation, result, seconds) in enumerate(pool.map(one, mutations), 1):
                bad += result != "killed"
                line = f"{number:3}/{len(mutations)} {result:9} {seconds:5.1f} s  {mutation.name}"
                print(line, flush=True)
                if result != "killed":
                    print(f"      {mutation.guarantee}\n      {mutation.where}: {mutation.old}")
        print(f"{len(mutations) - bad} killed, {bad} not")
    return 1 if bad else 0


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", action="store_true", help="name them, and do nothing")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="of name or file")
    parser.add_argument("--jobs", type=int, default=1, help="how many at the same time")
    options = parser.parse_args()
    mutations = chosen(options.only)
    if not mutations:  # and without a test, all would be run
        parser.error("no mutation has such a word in its name or file; see --list")
    if options.list:
        for mutation in mutations:
            print(f"{mutation.name:32} {mutation.guarantee}")
        return 0
    return run(mutations, options.jobs)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
