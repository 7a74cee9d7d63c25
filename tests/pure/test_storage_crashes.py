"""A run of the storage code, ended by a power cut at any moment, and the start after it.

Thousands of states: the power goes after any operation of any run; of what was not synced any
combination of blocks and of names may be missing; the index may be lost, or be as old as one
likes. What must hold afterwards are the invariants.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from support.power_cut_disk import FOLDER, FRAMES, RecordingDisk, StorageHistory, hash_of, recovered

from camd.model import RecordingQuery, SegmentState, SessionId
from camd.mp4.inspect import sealed_moov_offset
from camd.storage.index.recording_index import RecordingIndex
from camd.storage.recovery.reconcile import FileOutcome

ACTIONS: dict[str, Callable[[StorageHistory], None]] = {
    "append": lambda history: history.append(sync=False),
    "append and sync": lambda history: history.append(sync=True),
    "seal": StorageHistory.seal,
    "lose": StorageHistory.lose,
    "remove": StorageHistory.remove,
}
SCRIPTS = st.lists(st.sampled_from([*ACTIONS, "append", "seal"]), min_size=1, max_size=14)


def run_script(script: list[str]) -> StorageHistory:
    """Live through a script."""
    history = StorageHistory()
    for action in script:
        ACTIONS[action](history)
    return history


def check(history: StorageHistory, cut: int, disk: RecordingDisk, index: RecordingIndex) -> None:
    """Compare what is there after a start with all that was confirmed before the cut."""
    confirmed: dict[int, int] = {}
    for after, number, fragments in history.durable:
        if after <= cut:
            confirmed[number] = max(fragments, confirmed.get(number, 0))
    removed = {number for after, number in history.removed if after <= cut}
    removing = {number for after, number in history.removing if after <= cut}
    listed = {row.filename: row for row in index.database.page(RecordingQuery()).segments}
    for number, file in enumerate(history.files):
        data, row = disk.files.get(file.path), listed.pop(file.path.name, None)
        if number in removed:
            assert (data, row) == (None, None), "what was removed stays so"
            continue
        if data is None:  # I5: only what somebody wanted to be removed may be gone
            assert number in removing or not confirmed.get(number)
            assert row is None
            continue
        if row is None:  # a file without one whole fragment is no recording
            assert not confirmed.get(number)
            continue
        fragments = row.frames // FRAMES
        assert fragments >= confirmed.get(number, 0), "I2: what was durable is there"
        assert bytes(data) == history.sealed(number, fragments), "I1, I3: whole, sealed, in order"
        assert sealed_moov_offset(bytes(data[:48])) is not None
        assert (row.state, row.size_bytes) == (SegmentState.SEALED, len(data)), "I6"
        assert row.sha256 in (None, hash_of(data))
    assert not listed, "no row without a file"
    sessions = index.database.unfinished_sessions()
    if history.begun is not None and history.begun <= cut:
        assert [s.session_id for s in sessions] == ["session"], "no session is forgotten"
        assert all(s.frames_captured == s.frames_written + ledgered(s.gaps) for s in sessions)
    found = index.database.gaps(SessionId("session"))
    for after, entry in history.gaps:
        assert after > cut or found.count(entry) == 1, "I4: the ledger keeps every entry, once"


def ledgered(gaps: object) -> int:
    """Add up the exact entries."""
    return sum(gap.frames for gap in gaps if gap.exact)  # type: ignore[attr-defined]


@settings(max_examples=800)
@given(SCRIPTS, st.data())
def test_a_start_after_a_power_cut_restores_the_invariants(
    script: list[str], data: st.DataObject
) -> None:
    """Whenever the power goes, whatever is lost of what was not synced: files, index, sessions
    and ledger have all that was confirmed after the next start; a second one has nothing to do."""
    history = run_script(script)
    cut = data.draw(st.integers(0, history.now), label="operations before the cut")
    disk = history.disk.cut_at(cut, data.draw).settled()
    older = [database for after, database in history.indexes if after <= cut]
    database = data.draw(st.sampled_from([None, *older]), label="index")
    index, _ = recovered(disk, database)
    check(history, cut, disk, index)
    before = {path: bytes(content) for path, content in disk.files.items()}
    rows = index.database.page(RecordingQuery())
    _, again = recovered(disk, index.database._db.serialize())
    assert {finding.outcome for finding in again} <= {FileOutcome.EMPTY}
    assert disk.files == before
    assert index.database.page(RecordingQuery()) == rows


@settings(max_examples=250)
@given(SCRIPTS, st.data())
def test_a_power_cut_during_the_start_is_recovered_from(
    script: list[str], data: st.DataObject
) -> None:
    """The start itself may be cut off anywhere; the next one loses nothing that was confirmed."""
    history = run_script(script)
    cut = data.draw(st.integers(0, history.now), label="operations before the cut")
    disk = history.disk.cut_at(cut, data.draw).settled()
    before = len(disk.log)
    recovered(disk, None)
    cut_again = data.draw(st.integers(before, len(disk.log)), label="operations of the start")
    left = disk.cut_at(cut_again, data.draw).settled()
    index, _ = recovered(left, None)
    check(history, cut, left, index)


@settings(max_examples=150)
@given(SCRIPTS, st.booleans())
def test_without_a_cut_an_index_from_nothing_is_the_index(script: list[str], forget: bool) -> None:
    """I6: rebuilt from the files and the journal, the index says what the old one said."""
    history = run_script(script)
    history.seal()
    old = history.index.database
    index, findings = recovered(history.disk, None if forget else old._db.serialize())
    assert findings == []
    assert index.database.page(RecordingQuery()) == old.page(RecordingQuery())
    assert index.database.unfinished_sessions() == old.unfinished_sessions()
    assert index.database.gaps(SessionId("session")) == old.gaps(SessionId("session"))


def test_files_alone_make_an_index() -> None:
    """I6: with index and journal lost, every file is found again, with all that it tells."""
    history = run_script(["append", "append", "seal", "append", "seal", "append", "append"])
    history.disk.files = {
        path: d for path, d in history.disk.files.items() if path.parent == FOLDER
    }
    index, findings = recovered(history.disk, None)
    assert [f.outcome for f in findings] == [
        FileOutcome.NEW_TO_INDEX,
        FileOutcome.NEW_TO_INDEX,
        FileOutcome.SEALED,
    ]
    rows = index.database.page(RecordingQuery()).segments
    assert [(row.number, row.frames // FRAMES) for row in rows] == [(2, 2), (1, 1), (0, 2)]
