#!/bin/bash
# Installs the Debian package of another architecture in a root of its own, under QEMU's user mode,
# and looks whether the service does what it should.
#
#   packaging/try_architecture.sh [--root FOLDER] [ARCHITECTURE]      (arm64)
#
# The package has to be installed without pip or a network, to record a synthetic camera, to go on
# with the session after SIGKILL, to end in order, and to leave the recordings when it is purged.
# Systemd does not run in there: the service is started by hand, as the package's user. --root keeps
# the root, with FFmpeg in it, for the next time; making it takes some ten minutes. Needs root,
# debootstrap, qemu-user-static and its entry in binfmt_misc (Debian's package makes it under
# systemd), and Python with pip.
# Variables: PYTHON.
set -euo pipefail
project=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d -p /var/tmp camd-architecture-XXXXXX)
root=$work/root
case "${1:-}" in -h | --help)
    sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p}' "$0"
    exit 0
    ;;
esac
if [ "${1:-}" = --root ]; then
    root=$2
    shift 2
fi
architecture=${1:-arm64}

clean_up() {
    [ -z "${service:-}" ] || kill -KILL "$service" 2>/dev/null || true
    for place in proc dev; do umount "$root/$place" 2>/dev/null || true; done
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
say() { printf '%s\n' "-- $*"; }
fail() { say "FAILED: $*"; tail -n 20 "$work/service.log" 2>/dev/null || true; exit 1; }
within() {
    chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive CAMD_CONFIG=/etc/camd/camd.toml "$@"
}

case "$architecture" in
    arm64) machine=aarch64 ;;
    amd64) machine=x86_64 ;;
    *) fail "there is no package for $architecture" ;;
esac
if [ "$architecture" != "$(dpkg --print-architecture)" ] &&
    ! grep -qs enabled "/proc/sys/fs/binfmt_misc/qemu-$machine"; then
    fail "the kernel does not start programs of $architecture: install qemu-user-static, and mount \
binfmt_misc"
fi

if [ ! -e "$root/usr/bin/ffmpeg" ]; then
    say "making $root, which takes some minutes"
    debootstrap --arch="$architecture" --variant=minbase bookworm "$root" >"$work/root.log"
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" # nothing is started in there
    chmod +x "$root/usr/sbin/policy-rc.d"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    within apt-get update -qq
    within apt-get install -y -qq --no-install-recommends ffmpeg python3 systemd >>"$work/root.log"
fi
mount --bind /dev "$root/dev"
mount -t proc proc "$root/proc"

say "building the package"
"${PYTHON:-python3}" "$project/packaging/build_deb.py" --output "$work" --python 3.11 \
    --architecture "$architecture" >"$work/build.log"
cp "$work"/camd_*_"$architecture".deb "$root/tmp/camd.deb"
within dpkg --install /tmp/camd.deb >"$work/install.log" 2>&1 ||
    { tail -n 20 "$work/install.log"; fail "it was not installed"; }
say "installed: $(within camd --version) on $(within uname -m)"

cat >"$root/etc/camd/camd.toml" <<'TOML'
[server]
listen = ["127.0.0.1:18002", "unix:/run/camd/camd.sock"]
[storage]
recordings_dir = "/var/lib/camd/recordings"
state_dir = "/var/lib/camd/state"
warn_percent = 94.0
block_percent = 95.0
[recording]
rotation = "3s"
[discovery]
v4l2 = false
[[camera]]
source = "test:?size=160x120&rate=5"
TOML
within install -d -o camd -g camd /run/camd /var/lib/camd
within camd check || fail "camd check has found something"

as_service() { within runuser -u camd -- env CAMD_CONFIG=/etc/camd/camd.toml "$@"; }
start() {
    as_service camd run >>"$work/service.log" 2>&1 &
    for _ in $(seq 120); do
        if as_service camd status >"$work/status.log" 2>&1; then
            service=$(pgrep -n -f "camd run") || fail "the service is not there"
            return
        fi
        sleep 1
    done
    fail "the service did not answer within two minutes: $(cat "$work/status.log")"
}

start
say "it answers"
as_service camd record camera0 --for 8s || fail "nothing was recorded"
as_service camd verify || fail "the recordings are not what they should be"
as_service camd snapshot camera0 || fail "no snapshot was taken"
before=$(find "$root/var/lib/camd/recordings" -name '*.mp4' | wc -l)
as_service camd record camera0 --for 10m >"$work/record.log" 2>&1 &
for _ in $(seq 60); do # until it has rotated
    now=$(find "$root/var/lib/camd/recordings" -name '*.mp4' | wc -l)
    [ "$now" -lt $((before + 2)) ] || break
    sleep 1
done
kill -KILL "$service"
say "killed while it recorded"
start
session=$(as_service camd sessions --json) || fail "the sessions are not listed"
grep -q '"recording"\|"RECORDING"' <<<"$session" || fail "the session did not go on: $session"
as_service camd stop camera0 || fail "the recording was not stopped"
as_service camd verify || fail "the recordings are not what they should be"
kill -TERM "$service"
for _ in $(seq 60); do kill -0 "$service" 2>/dev/null || break; sleep 1; done
kill -0 "$service" 2>/dev/null && fail "it did not end"
service=
say "ended in order"

files=$(find "$root/var/lib/camd/recordings" -name '*.mp4' | wc -l)
within dpkg --purge camd >"$work/purge.log" 2>&1 || { cat "$work/purge.log"; fail "not purged"; }
left=$(find "$root/var/lib/camd/recordings" -name '*.mp4' | wc -l)
[ "$left" = "$files" ] && [ "$files" -gt 3 ] || fail "$files recordings became $left"
rm -rf "$root/var/lib/camd"
say "purged; all $left recordings are left"
