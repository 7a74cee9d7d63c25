"""Nodes, links, sound cards and holders, read from fake sysfs and proc folders."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.fake_usb_tree import FakeMachine

from camd.devices.holders import find_holders
from camd.devices.node_reader import scan_nodes
from camd.devices.sysfs import follow, list_nodes, read_cards, read_facts, read_links, stat_node
from camd.devices.v4l2.inventory import MOST_NODES
from camd.devices.v4l2.node import SysfsFacts
from camd.model import UsbFacts

PCI = "devices/pci0000:00/0000:00:14.0"
VIVID = "devices/platform/vivid.0"


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    """Make a machine with two busses of one controller and no devices."""
    machine = FakeMachine(tmp_path)
    machine.add_hub(f"{PCI}/usb1", " 2.00")
    machine.add_hub(f"{PCI}/usb2", " 3.10")
    return machine


def facts_of(machine: FakeMachine, number: int) -> SysfsFacts:
    """Read the facts of a node."""
    node = stat_node(f"video{number}", machine.roots)
    assert node is not None
    facts = read_facts(node, machine.roots)
    assert facts is not None
    return facts


def test_a_usb_camera_and_its_metadata_node(machine: FakeMachine) -> None:
    """Both nodes have the facts of their USB device; udev's database distinguishes them."""
    device = f"{PCI}/usb1/1-1/1-1.3"
    machine.add_usb(device, serial="LAB0001\n", product="Lab Camera\n", manufacturer="Lab\n")
    machine.add_node(4, f"{device}/1-1.3:1.0", label="Lab Camera: Lab Camera", says=":capture:")
    machine.add_node(5, f"{device}/1-1.3:1.0", index=1, says=":")
    facts = facts_of(machine, 4)
    usb = UsbFacts("046d", "0825", "LAB0001", "0000:00:14.0-usb2-1.3", "1-1.3")
    assert facts == SysfsFacts(
        *("Lab Camera: Lab Camera", 0, "81:4", "Lab Camera", "Lab", usb),
        bus_path="usb-0000:00:14.0-1.3",
        says_capture=True,
    )
    assert not facts_of(machine, 5).plausible


def test_a_node_that_is_removed_while_its_link_is_resolved(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that is removed between stat and read raises no error."""
    machine.add_usb(f"{PCI}/usb1/1-2")
    machine.add_node(0, f"{PCI}/usb1/1-2/1-2:1.0")
    machine.add_usb(f"{PCI}/usb1/1-4")
    machine.add_card(2, f"{PCI}/usb1/1-4/1-4:1.2", "Mic")

    def gone(path: object, **_: object) -> str:
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr(os, "readlink", gone)
    node = stat_node("video0", machine.roots)
    assert node is None or not node.folder
    assert read_cards(machine.roots.sys) == {}
    assert follow(machine.roots.sys / "class/video4linux/video0") == ""


def test_a_port_is_the_same_under_another_bus_number(machine: FakeMachine) -> None:
    """Busses are numbered anew at each boot; the port's name does not contain the number."""
    machine.add_hub(f"{PCI}/usb7", " 2.00")
    for bus, number in ((1, 0), (7, 1), (2, 2)):
        machine.add_usb(f"{PCI}/usb{bus}/{bus}-4")
        machine.add_node(number, f"{PCI}/usb{bus}/{bus}-4/{bus}-4:1.0")
    ports = [usb.port for number in range(3) if (usb := facts_of(machine, number).usb)]
    assert ports == ["0000:00:14.0-usb2-4", "0000:00:14.0-usb2-4", "0000:00:14.0-usb3-4"]


def test_texts_of_a_device_are_cleaned(machine: FakeMachine) -> None:
    """A serial number without a printable character is empty; a name keeps what is printable."""
    machine.add_usb(f"{PCI}/usb1/1-2", serial="\udcff\udcfe\x00\n", product="  Cam\x01 \udcff 2 \n")
    machine.add_node(0, f"{PCI}/usb1/1-2/1-2:1.0", label="x" * 5000)
    facts = facts_of(machine, 0)
    assert facts.usb is not None
    assert facts.usb.serial == ""
    assert facts.product == "Cam 2"
    assert len(facts.label) == 512


def test_nodes_of_other_busses_have_facts_too(machine: FakeMachine) -> None:
    """Platform and virtual devices are distinguished from USB and from each other."""
    machine.add_node(0, VIVID, label="vivid-000-vid-cap")
    machine.add_node(40, "devices/virtual", label="Dummy", says=":video_output:")
    vivid, loop = facts_of(machine, 0), facts_of(machine, 40)
    assert (vivid.usb, vivid.bus_path, vivid.virtual) == (None, "platform:vivid.0", False)
    assert (loop.usb, loop.bus_path, loop.virtual) == (None, "", True)
    assert vivid.plausible
    assert not loop.plausible


def test_a_node_that_is_removed_while_it_is_read_is_gone(machine: FakeMachine) -> None:
    """A node that is removed between stat and read has no facts, and raises no error."""
    machine.add_node(0, VIVID)
    node = stat_node("video0", machine.roots)
    assert node is not None
    machine.remove_node(0)
    assert read_facts(node, machine.roots) is None
    assert stat_node("video0", machine.roots) is None


def test_a_node_plugged_in_again_has_another_stamp(machine: FakeMachine) -> None:
    """It differs from the one before under the same name; a stat alone changes nothing."""
    machine.add_node(0, VIVID)
    first = stat_node("video0", machine.roots)
    assert stat_node("video0", machine.roots) == first
    (machine.roots.dev / "video0").chmod(0o600)
    assert stat_node("video0", machine.roots) == first
    machine.remove_node(0)
    machine.add_node(0, VIVID)
    again = stat_node("video0", machine.roots)
    assert first is not None
    assert again is not None
    assert again.folder == first.folder
    assert again.stamp != first.stamp


def test_a_node_that_sysfs_does_not_know_has_no_facts(machine: FakeMachine) -> None:
    """A node that was passed to a container is listed, with default facts."""
    (machine.roots.dev / "video3").write_bytes(b"")
    node = stat_node("video3", machine.roots)
    assert node is not None
    assert node.folder == ""
    assert read_facts(node, machine.roots) == SysfsFacts()


def test_only_video_nodes_are_listed_in_order(machine: FakeMachine) -> None:
    """Links, other nodes and other names are left out; ten comes after nine."""
    for number in (10, 9):
        machine.add_node(number, VIVID)
    for name in ("vbi0", "video", "video-front"):
        (machine.roots.dev / name).write_bytes(b"")
    (machine.roots.dev / "video11").symlink_to("video9")
    assert list_nodes(machine.roots) == ["video9", "video10", "video11"]
    assert [node.name for node in scan_nodes(machine.roots).nodes] == ["video9", "video10"]


def test_links_of_a_node_are_found(machine: FakeMachine) -> None:
    """Links by id come before those by path; a link that moved belongs to the new node."""
    by_path = machine.add_link("by-path", "pci-usb-0:1:1.0-video-index0", 0)
    by_id = machine.add_link("by-id", "usb-Camera-video-index0", 0)
    assert read_links(machine.roots) == {"video0": (by_id, by_path)}
    machine.add_link("by-id", "usb-Camera-video-index0", 2)
    assert read_links(machine.roots) == {"video0": (by_path,), "video2": (by_id,)}


def test_the_number_of_nodes_is_bounded(machine: FakeMachine) -> None:
    """The first 256 are scanned, and the others are counted."""
    for number in range(MOST_NODES + 3):
        (machine.roots.dev / f"video{number}").write_bytes(b"")
    scene = scan_nodes(machine.roots)
    assert (len(scene.nodes), scene.left_out) == (MOST_NODES, 3)


def test_a_machine_without_sysfs_has_no_nodes(tmp_path: Path) -> None:
    """Where there is no /dev, sysfs or udev, the scan is empty."""
    scene = scan_nodes(FakeMachine(tmp_path / "bare").roots)
    assert (scene.nodes, dict(scene.links), dict(scene.cards)) == ((), {}, {})


# --- sound cards ---------------------------------------------------------------------------


def test_a_microphone_belongs_to_the_usb_device_of_its_camera(machine: FakeMachine) -> None:
    """A card is found by its USB device, of any interface; equal cameras have their own."""
    for port, card, name in ((1, 2, "Camera"), (2, 10, "Camera_1")):
        machine.add_usb(f"{PCI}/usb1/1-{port}")
        machine.add_node(port, f"{PCI}/usb1/1-{port}/1-{port}:1.0")
        machine.add_card(card, f"{PCI}/usb1/1-{port}/1-{port}:1.2", name)
    machine.add_card(0, f"{PCI}/usb1/1-3/1-3:1.0", "Speaker", capture=False)
    machine.add_card(1, "devices/pci0000:00/0000:00:1f.3", "PCH")
    assert read_cards(machine.roots.sys) == {
        f"{PCI}/usb1/1-1": "Camera",
        f"{PCI}/usb1/1-2": "Camera_1",
    }


def test_of_two_cards_of_one_device_the_first_is_taken(machine: FakeMachine) -> None:
    """The choice does not depend on the order of a folder."""
    for card in (10, 9):
        machine.add_card(card, f"{PCI}/usb1/1-1/1-1:1.{card}", f"Card{card}")
    assert read_cards(machine.roots.sys) == {f"{PCI}/usb1/1-1": "Card9"}


# --- holders -------------------------------------------------------------------------------


def test_the_holder_of_a_node_is_found(tmp_path: Path) -> None:
    """Its program and user are named, and it can be left out."""
    node = tmp_path / "video0"
    node.write_bytes(b"")
    wait = "import sys; f = open(sys.argv[1]); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", wait, str(node)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (holder,) = find_holders(node).holders
        assert holder.pid == process.pid
        assert holder.program.startswith("python")
        assert holder.user
        assert process.stdin is not None
        process.stdin.close()
    assert find_holders(node).holders == ()


def test_processes_that_cannot_be_examined_make_holders_incomplete(tmp_path: Path) -> None:
    """So does a missing node; a process that has ended does not."""
    node = tmp_path / "video0"
    node.write_bytes(b"")
    proc = tmp_path / "proc"
    (proc / "7/fd").mkdir(parents=True)
    (proc / "7/comm").write_text("cheese\n")
    (proc / "7/fd/3").symlink_to(node)
    (proc / "8").mkdir()  # it has ended: no files
    (proc / "self").mkdir()
    seen = find_holders(node, proc)
    assert [(holder.pid, holder.program) for holder in seen.holders] == [(7, "cheese")]
    assert seen.complete
    (proc / "9").mkdir()
    (proc / "9/fd").symlink_to("fd")  # cannot be listed, for another reason than its end
    assert not find_holders(node, proc).complete
    assert not find_holders(tmp_path / "video1", proc).complete


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look at every process")
def test_other_users_processes_make_holders_incomplete() -> None:
    """Without root's rights they cannot be examined."""
    assert not find_holders(Path("/dev/null")).complete
