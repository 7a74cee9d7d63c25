"""Fakes /sys, /dev and udev's database in a temporary folder."""

from __future__ import annotations

from pathlib import Path

from camd.devices.sysfs import SysfsRoots


class FakeMachine:
    """A machine whose video nodes and attributes are files."""

    def __init__(self, folder: Path) -> None:
        self.roots = SysfsRoots(folder / "sys", folder / "dev", folder / "run")
        self._removed = folder / "removed"  # keeps inode numbers in use
        for name in ("sys/class/video4linux", "sys/class/sound", "dev/v4l", "run/data", "removed"):
            (folder / name).mkdir(parents=True)

    def add_hub(self, folder: str, version: str = " 2.00") -> None:
        """Add a root hub, such as "devices/pci0000:00/0000:00:14.0/usb1"."""
        self._write(folder, version=f"{version}\n", idVendor="1d6b\n", idProduct="0002\n")

    def add_usb(self, folder: str, **attributes: str) -> None:
        """Add a USB device below a hub's folder."""
        known = {"idVendor": "046d\n", "idProduct": "0825\n", "product": "Camera\n"}
        self._write(folder, **known | attributes)

    def add_node(
        self, number: int, device: str, *, index: int = 0, label: str = "Camera", says: str = ""
    ) -> None:
        """Add a video node of a device; `says` is its ID_V4L_CAPABILITIES in udev's database."""
        name, folder = f"video{number}", f"{device}/video4linux/video{number}"
        dev = f"81:{number}"
        self._write(folder, name=f"{label}\n", index=f"{index}\n", dev=f"{dev}\n")
        (self.roots.sys / "class/video4linux" / name).symlink_to(self.roots.sys / folder)
        (self.roots.dev / name).write_bytes(b"")
        if says:
            database = self.roots.udev / "data" / f"c{dev}"
            database.write_text(f"I:1\nE:ID_V4L_CAPABILITIES={says}\n")

    def remove_node(self, number: int) -> None:
        """Remove a node, as when its device is unplugged."""
        name = f"video{number}"
        link = self.roots.sys / "class/video4linux" / name
        removed = self._removed / str(len(list(self._removed.iterdir())))
        removed.mkdir()
        link.resolve().rename(removed / "sysfs")
        (self.roots.dev / name).rename(removed / "node")
        link.unlink()
        (self.roots.udev / "data" / f"c81:{number}").unlink(missing_ok=True)

    def add_link(self, kind: str, name: str, number: int) -> Path:
        """Add one of udev's links, kind "by-id" or "by-path"; an older one is replaced."""
        link = self.roots.dev / "v4l" / kind / name
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(Path(f"../../video{number}"))
        return link

    def add_card(self, number: int, device: str, name: str, *, capture: bool = True) -> None:
        """Add a sound card of a device."""
        folder = f"{device}/sound/card{number}"
        self._write(folder, id=f"{name}\n", number=f"{number}\n")
        kind = "c" if capture else "p"
        (self.roots.sys / folder / f"pcmC{number}D0{kind}").mkdir()
        (self.roots.sys / "class/sound" / f"card{number}").symlink_to(self.roots.sys / folder)

    def _write(self, folder: str, **attributes: str) -> None:
        target = self.roots.sys / folder
        target.mkdir(parents=True, exist_ok=True)
        for name, text in attributes.items():
            (target / name).write_bytes(text.encode("utf-8", "surrogateescape"))
