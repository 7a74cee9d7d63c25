"""Which devices are listed after which scans and answers, and which queries follow."""

from __future__ import annotations

import errno
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.devices.v4l2.inventory import Inventory, NodeAnswer, QueryJob, Scan, matches, simplify
from camd.devices.v4l2.node import NodeStat, SysfsFacts
from camd.devices.v4l2.node_errors import (
    NodeAccess,
    denied,
    describe_error,
    is_denied,
    is_foreign,
    is_gone,
)
from camd.model import Capabilities, Device, GapCause, Problem, UsbFacts
from camd.model.problems import HUNG

DEV = Path("/dev")
HUB = "devices/pci0000:00/0000:00:14.0/usb1"
CAPABLE = Capabilities("uvcvideo", "Camera", "usb-0000:00:14.0-1", ())
USB = UsbFacts("046d", "0825", "A1", "0000:00:14.0-usb2-1", "1-1")
FACTS = SysfsFacts(label="Camera", index=0, number="81:0", usb=USB, says_capture=True)
BUSY = Problem("busy", "", "", GapCause.CAMERA_BUSY)


def node_stat(number: int, replugs: int = 0) -> NodeStat:
    """Return a node; `replugs` counts how often it was plugged in again."""
    folder = f"{HUB}/1-1/1-1:1.0/video4linux/video{number}"
    return NodeStat(f"video{number}", (1, replugs, 2, replugs), folder)


def scan(*numbers: int, replugs: int = 0) -> Scan:
    """Return a scan with these nodes."""
    return Scan(tuple(node_stat(number, replugs) for number in numbers))


def answered(
    inventory: Inventory, job: QueryJob, answer: NodeAnswer, facts: SysfsFacts | None = FACTS
) -> None:
    """Record a node's facts and its answer."""
    inventory.record_answer(job, inventory.record_facts(job, facts) or answer)


def one(inventory: Inventory) -> Device:
    """Return the only listed device."""
    (device,) = inventory.devices
    return device


def test_capture_nodes_are_listed_in_the_order_of_numbers() -> None:
    """Number 10 comes after number 9; other nodes are not listed."""
    inventory = Inventory(DEV)
    jobs = inventory.apply_scan(scan(10, 9, 2))
    assert [job.node.name for job in jobs] == ["video10", "video9", "video2"]
    assert not inventory.all_queried
    for job, answer in zip(
        jobs, (NodeAnswer(CAPABLE), NodeAnswer(CAPABLE), NodeAnswer()), strict=True
    ):
        answered(inventory, job, answer)
    assert [device.node.name for device in inventory.devices] == ["video9", "video10"]
    assert inventory.all_queried


def test_a_node_that_has_answered_is_not_queried_again() -> None:
    """An equal scan starts no query, whether the node captures or not."""
    inventory = Inventory(DEV)
    jobs = inventory.apply_scan(scan(0, 1))
    assert inventory.apply_scan(scan(0, 1)) == []  # still being asked
    answered(inventory, jobs[0], NodeAnswer(CAPABLE))
    answered(inventory, jobs[1], NodeAnswer())
    assert inventory.apply_scan(scan(0, 1)) == []


@pytest.mark.parametrize("answer", [NodeAnswer(problem=BUSY), NodeAnswer(gone=True)])
def test_a_failed_query_is_repeated_at_the_next_scan(answer: NodeAnswer) -> None:
    """The problem stays until the new answer replaces it."""
    inventory = Inventory(DEV)
    (job,) = inventory.apply_scan(scan(0))
    answered(inventory, job, answer)
    before = inventory.devices
    (again,) = inventory.apply_scan(scan(0))
    assert again == job
    assert inventory.devices == before  # the problem stays until the answer is there
    answered(inventory, again, NodeAnswer(CAPABLE))
    assert one(inventory).problem is None
    assert one(inventory).capabilities == CAPABLE


def test_virtual_nodes_are_queried_at_every_scan() -> None:
    """A loopback node becomes a camera, and ceases to be one, without an event."""
    inventory = Inventory(DEV)
    virtual = attrs.evolve(FACTS, virtual=True, usb=None)
    shown = []
    for answer in (NodeAnswer(), NodeAnswer(CAPABLE), NodeAnswer()):
        (job,) = inventory.apply_scan(scan(40))
        answered(inventory, job, answer, virtual)
        shown.append(len(inventory.devices))
    assert shown == [0, 1, 0]


def test_a_replug_between_two_scans_starts_a_new_query() -> None:
    """The same name with another stamp is a new device."""
    inventory = Inventory(DEV)
    (job,) = inventory.apply_scan(scan(0))
    answered(inventory, job, NodeAnswer(CAPABLE))
    first = one(inventory).plug_id
    (again,) = inventory.apply_scan(scan(0, replugs=1))
    assert inventory.devices == ()
    assert not inventory.all_queried
    answered(inventory, again, NodeAnswer(CAPABLE))
    assert one(inventory).plug_id > first


def test_a_late_answer_of_an_unplugged_device_is_dropped() -> None:
    """It says nothing about the next device of the same name."""
    inventory = Inventory(DEV)
    (old,) = inventory.apply_scan(scan(0))
    (new,) = inventory.apply_scan(scan(0, replugs=1))
    answered(inventory, old, NodeAnswer(CAPABLE))
    inventory.mark_late(old)
    assert inventory.devices == ()
    assert not inventory.all_queried
    answered(inventory, new, NodeAnswer(CAPABLE))
    assert one(inventory).plug_id == new.plug_id


def test_a_node_that_hangs_has_a_problem_until_it_answers() -> None:
    """It is listed as hung, not queried twice, and its late answer is used."""
    inventory = Inventory(DEV)
    (job,) = inventory.apply_scan(scan(0))
    assert inventory.record_facts(job, FACTS) is None
    inventory.mark_late(job)
    assert one(inventory).problem == HUNG
    assert one(inventory).capabilities is None
    assert inventory.all_queried
    assert inventory.apply_scan(scan(0)) == []
    assert inventory.query_again("video0") == (job, False)
    inventory.record_answer(job, NodeAnswer(CAPABLE))
    assert one(inventory).problem is None
    assert one(inventory).capabilities == CAPABLE


def test_a_problem_stays_while_a_second_query_hangs() -> None:
    """A camera that refuses slowly does not alternate between two problems."""
    inventory = Inventory(DEV)
    (job,) = inventory.apply_scan(scan(0))
    answered(inventory, job, NodeAnswer(problem=BUSY))
    assert inventory.apply_scan(scan(0)) == [job]
    assert not inventory.mark_late(job)
    assert one(inventory).problem == BUSY
    answered(inventory, job, NodeAnswer(problem=BUSY))
    assert one(inventory).problem == BUSY


@pytest.mark.parametrize("answer", [NodeAnswer(problem=BUSY), None])
def test_only_plausible_nodes_are_listed_without_capabilities(answer: NodeAnswer | None) -> None:
    """A metadata node that hangs or is refused is not listed as a camera."""
    inventory = Inventory(DEV)
    (job,) = inventory.apply_scan(scan(1))
    assert inventory.record_facts(job, attrs.evolve(FACTS, index=1, says_capture=False)) is None
    if answer is None:
        inventory.mark_late(job)
    else:
        inventory.record_answer(job, answer)
    assert inventory.devices == ()
    assert inventory.all_queried


def test_capabilities_outlive_a_problem() -> None:
    """A camera that was queried before and fails now is listed with both."""
    inventory = Inventory(DEV)
    (job,) = inventory.apply_scan(scan(0))
    answered(inventory, job, NodeAnswer(CAPABLE))
    again, fresh = inventory.query_again("video0")
    assert again == job
    assert fresh
    answered(inventory, job, NodeAnswer(problem=BUSY))
    assert one(inventory).problem == BUSY
    assert one(inventory).capabilities == CAPABLE


def test_removed_nodes_are_not_listed() -> None:
    """Neither nodes that no scan shows nor those that the kernel reports as gone."""
    inventory = Inventory(DEV)
    jobs = inventory.apply_scan(scan(0, 1))
    answered(inventory, jobs[0], NodeAnswer(CAPABLE))
    answered(inventory, jobs[1], NodeAnswer(CAPABLE), facts=None)
    assert [device.node.name for device in inventory.devices] == ["video0"]
    inventory.apply_scan(scan(1))
    assert inventory.devices == ()
    assert inventory.query_again("video0") == (None, False)
    assert inventory.find("video0") is None


def test_links_and_sound_card_are_those_of_the_last_scan() -> None:
    """A link that moved and a card that was added later are shown without a query."""
    inventory = Inventory(DEV)
    (job,) = inventory.apply_scan(scan(0))
    answered(inventory, job, NodeAnswer(CAPABLE))
    assert one(inventory).sound_card == ""
    link = Path("/dev/v4l/by-id/usb-x")
    cards = {f"{HUB}/1-1": "Camera"}
    assert inventory.apply_scan(Scan((node_stat(0),), {"video0": (link,)}, cards)) == []
    assert one(inventory).links == (link,)
    assert one(inventory).sound_card == "Camera"


@pytest.mark.parametrize(
    "pattern",
    [
        *("/dev/video0", "/dev/v4l/by-id/*", "1-1", "0000:00:14.0-usb2-1", "A1", "046d:0825"),
        *("cam?ra", "*usb2-*"),
    ],
)
def test_ignored_nodes_are_not_opened_and_not_listed(pattern: str) -> None:
    """Node, link, either name of the port, serial number, model and name are compared."""
    inventory = Inventory(DEV, (pattern,))
    (job,) = inventory.apply_scan(
        Scan((node_stat(0),), {"video0": (Path("/dev/v4l/by-id/usb-x"),)}),
    )
    answer = inventory.record_facts(job, FACTS)
    assert answer == NodeAnswer()
    inventory.record_answer(job, answer)
    assert inventory.all_queried
    assert inventory.devices == ()


def test_a_pattern_must_match_a_whole_name() -> None:
    """A part of a name is not enough; case does not matter."""
    assert not matches(["/dev/video", "1", "046d"], ["/dev/video0", "1-1", "046d:0825"])
    assert matches(["/DEV/VIDEO?"], ["/dev/video0"])


def test_repeated_names_are_shortened() -> None:
    """uvcvideo's repeated names are cut; names with a different second part are not."""
    assert simplify("Lab Camera: Lab Camera") == "Lab Camera"
    assert simplify("Integrated Camera: Integrated C") == "Integrated Camera"
    assert simplify("Integrated Camera: Integrated I") == "Integrated Camera: Integrated I"
    assert simplify("vivid-000-vid-cap") == "vivid-000-vid-cap"


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("see"), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)))),
        st.tuples(st.sampled_from(["yes", "no", "busy", "gone", "late"]), st.integers(0, 9)),
    ),
    max_size=40,
)


@given(STEPS)
def test_a_plugged_node_has_one_query_at_a_time(steps: list[tuple[str, object]]) -> None:
    """In any order of events: one query per plugging, increasing ids, one device each."""
    inventory, open_jobs, asked = Inventory(DEV), list[QueryJob](), set[int]()
    answers = {"yes": NodeAnswer(CAPABLE), "no": NodeAnswer(), "busy": NodeAnswer(problem=BUSY)}
    for kind, what in steps:
        if kind == "see":
            assert isinstance(what, list)
            jobs = inventory.apply_scan(
                Scan(tuple(node_stat(n, replugs) for n, replugs in dict(what).items()))
            )
            for job in jobs:
                assert job not in open_jobs
                assert job.plug_id in asked or job.plug_id > max(asked, default=0)
                asked.add(job.plug_id)
            open_jobs += jobs
        elif open_jobs:
            assert isinstance(what, int)
            job = open_jobs[what % len(open_jobs)]
            if kind == "late":
                inventory.mark_late(job)
                continue
            open_jobs.remove(job)
            answered(inventory, job, answers.get(kind, NodeAnswer(gone=True)))
        ids = [device.plug_id for device in inventory.devices]
        assert len(set(ids)) == len(ids)
    for job in open_jobs:
        answered(inventory, job, NodeAnswer(CAPABLE))
    assert inventory.all_queried or not [s for s in steps if s[0] == "see"]


# --- refusals ------------------------------------------------------------------------------


def test_errors_are_classified() -> None:
    """Each errno of opening and querying has its meaning."""
    assert all(is_gone(OSError(n, "")) for n in (errno.ENODEV, errno.ENOENT, errno.ENXIO))
    assert not is_gone(OSError(errno.EIO, ""))
    assert is_denied(PermissionError(errno.EACCES, ""))
    assert is_denied(PermissionError(errno.EPERM, ""))
    assert is_foreign(OSError(errno.ENOTTY, ""))
    assert describe_error(OSError(errno.EBUSY, "")).kind == "busy"
    broken = describe_error(OSError(errno.EIO, "Input/output error"))
    assert broken.kind == "io_error"
    assert broken.message == "The camera reported an error: Input/output error"


@pytest.mark.parametrize(
    ("access", "remedy"),
    [
        (NodeAccess("video", "camd"), "Run: sudo usermod -aG video camd; then start camd again."),
        (NodeAccess("video", ""), "Run: sudo usermod -aG video USER; then start camd again."),
        (
            NodeAccess("video", "camd", member=True),
            "Log in again, or restart the service: it is not in the group video yet.",
        ),
        (
            NodeAccess("", "camd"),
            "Give a group access: `sudo chgrp video /dev/video0; sudo chmod g+rw /dev/video0`.",
        ),
        (
            NodeAccess("video", "root", entitled=True),
            "Allow the service the device, such as by DeviceAllow=char-video4linux rw.",
        ),
        (
            NodeAccess("44", "camd", contained=True),
            "Start the container with --device /dev/video0 --group-add 44.",
        ),
        (
            NodeAccess("video", "root", entitled=True, contained=True),
            "Start the container with --device /dev/video0.",
        ),
    ],
)
def test_a_missing_permission_has_its_remedy(access: NodeAccess, remedy: str) -> None:
    """It depends on the user, on a container, and on the group of the node."""
    problem = denied("/dev/video0", access)
    assert problem.kind == "no_permission"
    assert problem.ledger_cause is GapCause.NO_PERMISSION
    assert problem.suggestion == remedy
