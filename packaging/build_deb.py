"""Builds a Debian package of this tree: `python packaging/build_deb.py --output FOLDER`.

The package has camd and the Python packages it needs in a folder of its own, `/usr/lib/camd`: they
do not meet those of the distribution. FFmpeg comes from the distribution. Needs pip and dpkg-deb;
pip gets the wheels for another architecture or another Python, so that any machine builds all.
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEBIAN = ROOT / "packaging" / "debian"
PLATFORMS = {"amd64": "manylinux2014_x86_64", "arm64": "manylinux2014_aarch64"}
SHELLS = {
    "bash": "usr/share/bash-completion/completions/camd",
    "zsh": "usr/share/zsh/vendor-completions/_camd",
    "fish": "usr/share/fish/vendor_completions.d/camd.fish",
}
CONTROL = """\
Package: camd
Version: {version}
Architecture: {architecture}
Maintainer: the camd authors <camd@localhost>
Section: video
Priority: optional
Installed-Size: {kilobytes}
Depends: python3 (>= {python}), python3 (<< {next_python}), ffmpeg, libc6, \
systemd-standalone-sysusers | systemd
Description: camera recorder whose footage is in a file, or in a ledger that says why not
 Records USB cameras, RTSP and SRT streams into MP4 files that survive
 crashes and power cuts. Programs control it by JSON-RPC over a WebSocket;
 people by the command line and a page.
"""


def build(output: Path, architecture: str, python: str) -> Path:
    """Build the package into a folder; return its path."""
    with tempfile.TemporaryDirectory(prefix="camd-deb-") as temporary:
        tree = Path(temporary) / "tree"
        install_python(tree / "usr/lib/camd", architecture, python)
        install_files(tree)
        write_cli_files(tree)
        return pack(tree, output, architecture, python)


def install_python(target: Path, architecture: str, python: str) -> None:
    """Install camd and what it needs, as wheels, for the architecture and the Python."""
    wheels = target.parents[3] / "wheels"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-deps", "--wheel-dir", wheels, ROOT)
    (camd,) = wheels.glob("camd-*.whl")
    run(
        *(*pip, "install", "--target", target, "--no-compile", "--only-binary=:all:"),
        *("--platform", PLATFORMS[architecture], "--python-version", python),
        *("--implementation", "cp", camd),
    )
    shutil.rmtree(target / "bin", ignore_errors=True)


def install_files(tree: Path) -> None:
    """Put the program, units, user, configuration and documents where Debian wants them."""
    documents = tree / "usr/share/doc/camd"
    copy(DEBIAN / "camd", tree / "usr/bin/camd", 0o755)
    copy(DEBIAN / "camd.sysusers", tree / "usr/lib/sysusers.d/camd.conf")
    for unit in sorted((ROOT / "systemd").iterdir()):
        copy(unit, tree / "usr/lib/systemd/system" / unit.name)
    copy(ROOT / "packaging" / "camd.toml", tree / "etc/camd/camd.toml", 0o640)
    for folder in ("docs", "examples"):
        shutil.copytree(
            ROOT / folder,
            documents / folder if folder == "examples" else documents,
            ignore=shutil.ignore_patterns("*.py[co]", "__pycache__"),
            dirs_exist_ok=True,
        )
    copy(ROOT / "README.md", documents / "README.md")
    copy(ROOT / "LICENSE", documents / "copyright")
    changes = gzip.compress((ROOT / "CHANGELOG.md").read_bytes(), mtime=0)
    (documents / "changelog.gz").write_bytes(changes)


def write_cli_files(tree: Path) -> None:
    """Write manual pages and completions, by the command line of this tree."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    pages = tree / "usr/share/man/man1"
    run(sys.executable, ROOT / "packaging/man_pages.py", "--gzip", pages, env=environ)
    for shell, path in SHELLS.items():
        completion = {**environ, "_CAMD_COMPLETE": f"{shell}_source"}
        script = run(sys.executable, "-m", "camd", env=completion)
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(script, encoding="utf-8")


def pack(tree: Path, output: Path, architecture: str, python: str) -> Path:
    """Write the control files, and make the package."""
    major, minor = python.split(".")
    version = next(
        line.partition('"')[2].rstrip('"')
        for line in (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
        if line.startswith("version = ")
    )
    control = CONTROL.format(
        version=version,
        architecture=architecture,
        python=python,
        next_python=f"{major}.{int(minor) + 1}",
        kilobytes=sum(p.stat().st_size for p in tree.rglob("*") if p.is_file()) // 1024,
    )
    for folder in [tree, *(path for path in tree.rglob("*") if path.is_dir())]:
        folder.chmod(0o755)
    (tree / "DEBIAN").mkdir(mode=0o755)
    (tree / "DEBIAN/control").write_text(control, encoding="utf-8")
    (tree / "DEBIAN/conffiles").write_text("/etc/camd/camd.toml\n", encoding="utf-8")
    for script in ("postinst", "prerm", "postrm"):
        copy(DEBIAN / script, tree / "DEBIAN" / script, 0o755)
    output.mkdir(parents=True, exist_ok=True)
    package = output / f"camd_{version}_{architecture}.deb"
    run("dpkg-deb", "--root-owner-group", "-Zxz", "--build", tree, package)
    return package


def copy(source: Path, target: Path, mode: int = 0o644) -> None:
    """Copy a file with this mode, into a folder that may have to be made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def run(*command: object, env: dict[str, str] | None = None) -> str:
    """Run a program; return its output. Ends with its messages when it fails."""
    done = subprocess.run(
        [str(part) for part in command], env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{command[0]}: {done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    """Build what the command line asks for, and print the paths."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("dist"), help="default: dist")
    parser.add_argument(
        "--architecture", choices=sorted(PLATFORMS), action="append", help="default: all"
    )
    parser.add_argument("--python", default=here, help=f"of the target; default: {here}")
    options = parser.parse_args()
    for architecture in options.architecture or sorted(PLATFORMS):
        print(build(options.output, architecture, options.python))


if __name__ == "__main__":
    main()
