"""Removing, pinning and retention as clients call them, over a real folder."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from json_schema import undescribed
from support.fake_disk import roomy_disk
from support.recordings import segment

from camd.api.event_publisher import notification_of
from camd.api.recording_methods import RecordingsApi
from camd.api.retention_methods import FilesApi, RetentionApi
from camd.clock import SYSTEM_CLOCK, now
from camd.config.schema import RetentionConfig, StorageConfig
from camd.errors import Refusal
from camd.model import CleanupEnded, Event, SegmentState
from camd.rpc.registry import Caller, Registry
from camd.rpc.roles import Principal, Role
from camd.runtime.broadcast import Fanout
from camd.storage.retention.cleanup import Retention, open_retention
from camd.storage.storage import Storage, open_storage

NAMES = [f"camera0_{days}.mp4" for days in (40, 35, 5)]
ROLES = {
    "delete_recording": Role.OPERATOR,
    "pin_recording": Role.OPERATOR,
    "unpin_recording": Role.OPERATOR,
    "set_retention_policy": Role.ADMIN,
    "get_retention_policy": Role.ADMIN,
    "preview_cleanup": Role.ADMIN,
    "cleanup_old_files": Role.ADMIN,
}


@attrs.define(eq=False)
class RetentionClient:
    """The methods, and what is behind them."""

    registry: Registry
    storage: Storage
    retention: Retention
    folder: Path

    async def call(self, method: str, role: Role = Role.ADMIN, /, **params: object) -> Any:
        """Call a method as somebody with a role."""
        caller = Caller(Principal("ann", role, None, "test"), "test")
        answer = await self.registry.prepare(method, params, caller).run()
        (declared,) = [each.result for each in self.registry.methods if each.name == method]
        assert undescribed(declared, answer) == []
        return answer

    async def refused(self, method: str, role: Role = Role.ADMIN, /, **params: object) -> Refusal:
        """Call a method that is refused."""
        with pytest.raises(Refusal) as refusal:
            await self.call(method, role, **params)
        return refusal.value


@asynccontextmanager
async def opened(tmp_path: Path) -> AsyncIterator[RetentionClient]:
    """Serve three recordings: two old ones, a young one."""
    folder, state, events = tmp_path / "recordings", tmp_path / "state", Fanout[Event]()
    with trio.fail_after(300):
        async with (
            open_storage(
                StorageConfig(folder, state_dir=folder / ".state"),
                events,
                roomy_disk(),
                clock=SYSTEM_CLOCK,
            ) as storage,
            open_retention(
                RetentionConfig(), state, storage, events, dict, clock=SYSTEM_CLOCK
            ) as retention,
        ):
            await storage.unfinished_sessions()
            for name in NAMES:
                end = now() - timedelta(days=int(name[8:-4]))
                (folder / name).write_bytes(bytes(1000))
                begin = end - timedelta(minutes=1)
                await storage.note_segment(
                    segment(name, start=begin, end=end, number=int(name[8:-4]))
                )
            apis = (
                RecordingsApi({}, storage),  # type: ignore[arg-type]
                FilesApi(storage, clock=SYSTEM_CLOCK),
                RetentionApi(retention),
            )
            registry = Registry(apis)
            yield RetentionClient(registry, storage, retention, folder)


async def test_each_method_needs_its_role(tmp_path: Path) -> None:
    """One role below, all of them are refused with −32003."""
    below = {Role.OPERATOR: Role.VIEWER, Role.ADMIN: Role.OPERATOR}
    async with opened(tmp_path) as setup:
        for method, role in ROLES.items():
            refusal = await setup.refused(method, below[role], filename=NAMES[0])
            assert (refusal.kind.code, refusal.data["required"]) == (-32003, role.value)


async def test_a_recording_is_deleted(tmp_path: Path) -> None:
    """The answer has what clients read; the file is gone, and then unknown."""
    async with opened(tmp_path) as setup:
        answer = await setup.call("delete_recording", Role.OPERATOR, filename=NAMES[0])
        assert (answer["filename"], answer["deleted"]) == (NAMES[0], True)
        assert answer["message"] == f"{NAMES[0]} is removed"
        assert not (setup.folder / NAMES[0]).exists()
        again = await setup.refused("delete_recording", filename=NAMES[0])
        assert (again.kind.code, again.data["filename"]) == (-1005, NAMES[0])
        page = await setup.call("list_recordings")
        assert [f["filename"] for f in page["files"]] == [NAMES[2], NAMES[1]]


async def test_deleting_is_refused_with_the_reason(tmp_path: Path) -> None:
    """Pinned, read, recorded: each has its code, and names the file."""
    async with opened(tmp_path) as setup:
        await setup.call("pin_recording", filename=NAMES[0])
        open_one = attrs.evolve(await setup.storage.find(NAMES[2]), state=SegmentState.OPEN)
        setup.storage.growing(open_one, 0)
        with setup.storage.leased(NAMES[1]):
            refusals = [await setup.refused("delete_recording", filename=n) for n in NAMES]
        assert [r.kind.code for r in refusals] == [-1012, -1013, -1011]
        assert [r.data["filename"] for r in refusals] == NAMES
        assert [r.data["retryable"] for r in refusals] == [False, True, True]
        outside = await setup.refused("delete_recording", filename="../state/keys.toml")
        assert outside.kind.code == -32602


async def test_pins_are_shown_wherever_files_are(tmp_path: Path) -> None:
    """In the answer, in the list and in the details, until the pin is taken away."""
    until = (now() + timedelta(days=1)).replace(microsecond=0)
    async with opened(tmp_path) as setup:
        params = {"filename": NAMES[1], "reason": "evidence", "until": until.isoformat()}
        pinned = await setup.call("pin_recording", Role.OPERATOR, **params)
        assert (pinned["filename"], pinned["pinned"]) == (NAMES[1], True)
        pin = pinned["pin"]
        assert (pin["reason"], pin["by"], pin["until"]) == ("evidence", "ann", until)
        listed = (await setup.call("list_recordings"))["files"]
        assert {f["filename"]: f["pinned"] for f in listed} == {
            name: name == NAMES[1] for name in NAMES
        }
        assert (await setup.call("get_recording_info", filename=NAMES[1]))["pin"] == pin
        unpinned = await setup.call("unpin_recording", Role.OPERATOR, filename=NAMES[1])
        assert (unpinned["pinned"], unpinned["pin"], "warnings" in unpinned) == (False, None, False)
        info = await setup.call("get_recording_info", filename=NAMES[1])
        assert (info["pinned"], info["pin"]) == (False, None)


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"until": "2001-01-01T00:00:00Z"}, "until"),
        ({"until": "soon"}, "until"),
        ({"reason": "x" * 1001}, "reason"),
        ({"filename": "a/b"}, "filename"),
    ],
)
async def test_a_pin_that_means_nothing_is_refused(
    tmp_path: Path, params: dict[str, str], path: str
) -> None:
    """−32602 names the parameter."""
    async with opened(tmp_path) as setup:
        refusal = await setup.refused("pin_recording", **{"filename": NAMES[0], **params})
        assert refusal.kind.code == -32602
        assert [error["path"] for error in refusal.data["errors"]] == [path]


@pytest.mark.parametrize(
    ("params", "paths"),
    [
        ({"policy_type": "age"}, ["enabled"]),
        ({"policy_type": "old", "enabled": True}, ["policy_type"]),
        ({"policy_type": "age", "enabled": True}, ["max_age_days"]),
        ({"policy_type": "size", "enabled": False}, ["max_size_gb"]),
        ({"policy_type": "age", "enabled": True, "max_age_days": 0}, ["max_age_days"]),
        ({"policy_type": "age", "enabled": True, "max_age_days": "9"}, ["max_age_days"]),
        ({"policy_type": "manual", "enabled": 1}, ["enabled"]),
        (
            {"policy_type": "size", "enabled": True, "max_size_gb": -1, "max_age_days": -1},
            ["max_age_days", "max_size_gb"],
        ),
    ],
)
async def test_a_wrong_policy_is_refused_by_path(
    tmp_path: Path, params: dict[str, Any], paths: list[str]
) -> None:
    """−32602 names every parameter that is wrong, and the old policy stays."""
    async with opened(tmp_path) as setup:
        refusal = await setup.refused("set_retention_policy", **params)
        assert refusal.kind.code == -32602
        assert sorted(error["path"] for error in refusal.data["errors"]) == paths
        policy = await setup.call("get_retention_policy")
        assert (policy["policy_type"], policy["enabled"]) == ("manual", False)


async def test_a_policy_is_echoed_and_shown(tmp_path: Path) -> None:
    """The answer repeats what was set, with a message; it stands in the state folder."""
    params = {"policy_type": "age", "enabled": True, "max_age_days": 30, "max_size_gb": None}
    async with opened(tmp_path) as setup:
        answer = await setup.call("set_retention_policy", **params)
        assert {key: answer[key] for key in params} == params
        assert "older than 30 days" in answer["message"]
        shown = await setup.call("get_retention_policy")
        assert {key: shown[key] for key in params} == params
        assert (shown["interval"], shown["max_delete_percent"], shown["last_run"]) == (
            3600,
            20,
            None,
        )
    assert json.loads((tmp_path / "state" / "retention.json").read_text()) == params


async def test_a_cleanup_is_previewed_stopped_by_the_limit_and_forced(tmp_path: Path) -> None:
    """The plan is the same each time; only the forced run removes, and leaves a receipt."""
    params = {"policy_type": "age", "enabled": True, "max_age_days": 30}
    async with opened(tmp_path) as setup:
        await setup.call("set_retention_policy", **params)
        await setup.call("pin_recording", filename=NAMES[1])
        preview = await setup.call("preview_cleanup")
        stopped_by_limit = await setup.call("cleanup_old_files")
        done = await setup.call("cleanup_old_files", force=True)
        for answer in (preview, stopped_by_limit, done):
            assert [f["filename"] for f in answer["files"]] == [NAMES[0]]
            kept = [(f["filename"], f["reason"]) for f in answer["kept"]]
            assert kept == [(NAMES[1], "pinned")]
            assert (answer["files_to_delete"], answer["space_to_free"]) == (1, 1000)
            assert answer["share_percent"] == 33.33
        for answer in (preview, stopped_by_limit):
            assert (answer["cleanup_executed"], answer["files_deleted"]) == (False, 0)
            assert (answer["stopped_by_limit"], answer["space_freed"]) == (True, 0)
            assert "33.3 %" in answer["message"]
        assert (done["cleanup_executed"], done["files_deleted"]) == (True, 1)
        assert (done["space_freed"], done["stopped_by_limit"]) == (1000, False)
        assert done["receipt"]["files"] == [NAMES[0]]
        assert done["receipt"]["asked_by"] == "ann"
        assert (await setup.call("get_retention_policy"))["last_run"] == done["receipt"]
        last = setup.retention.last
        assert last is not None
        assert notification_of(CleanupEnded(last)) == ("retention_update", done["receipt"], None)


async def test_a_manual_policy_says_that_it_does_nothing(tmp_path: Path) -> None:
    """Without a policy, cleaning up is answered, and removes nothing."""
    async with opened(tmp_path) as setup:
        for method in ("preview_cleanup", "cleanup_old_files"):
            answer = await setup.call(method)
            assert (answer["cleanup_executed"], answer["files_deleted"]) == (False, 0)
            assert "nothing is removed" in answer["message"]
        assert len(list(setup.folder.glob("*.mp4"))) == 3


async def test_a_policy_that_is_off_can_be_previewed(tmp_path: Path) -> None:
    """It shows what would go, and says that nothing does."""
    params = {"policy_type": "size", "enabled": False, "max_size_gb": 0.000002}
    async with opened(tmp_path) as setup:
        await setup.call("set_retention_policy", **params)
        preview = await setup.call("preview_cleanup")
        assert [f["filename"] for f in preview["files"]] == [NAMES[0]]
        assert "off" in preview["message"]
        assert (await setup.call("cleanup_old_files", force=True))["files_deleted"] == 0
        assert len(list(setup.folder.glob("*.mp4"))) == 3


async def test_unpinning_names_parameters_without_an_effect(tmp_path: Path) -> None:
    """A client that sends the parameters of `pin_recording` is answered, with a warning of each."""
    async with opened(tmp_path) as setup:
        await setup.call("pin_recording", Role.OPERATOR, filename=NAMES[1])
        params = {"filename": NAMES[1], "reason": "over", "until": None}
        unpinned = await setup.call("unpin_recording", Role.OPERATOR, **params)
        assert unpinned["pin"] is None
        assert unpinned["warnings"] == [
            "unknown parameter, ignored: reason",
            "unknown parameter, ignored: until",
        ]
