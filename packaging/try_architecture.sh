#!/bin/bash
# Installs the Debian package for an architecture in a minimal Debian 12, and looks whether it does
# what it should.
#
#   packaging/try_architecture.sh [--base FOLDER] ARCHITECTURE      (arm64 or amd64)
#
# The package is built from what is committed. apt installs it with what it depends on; the shipped
# configuration has to be right; the service, started by hand as the user of the package, has to
# record a synthetic camera, to go on with the session after SIGKILL, and to end in order; a removal
# and a purge have to leave the recordings. For another architecture than the machine's, QEMU's user
# mode runs the programs, about ten times slower; it all takes half an hour then.
#
# What it cannot try: the units, because systemd does not run in there (tests/hardware/service_lab.py
# does that on amd64), and devices, of which the root has none.
#
# Everything is below a temporary folder, and removed at the end. --base takes the minimal Debian
# from a folder, which debootstrap makes when it is not there. Needs root, debootstrap, the package
# index, and git; for another architecture qemu-user-static. Variables: PYTHON, with pip and the
# packages that camd needs.
set -euo pipefail
if [ $# = 0 ] || [ "$1" = -h ] || [ "$1" = --help ]; then
    sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p}' "$0"
    [ $# != 0 ] || exit 2
    exit 0
fi
if [ -z "${CAMD_ARCHITECTURE_WORK:-}" ]; then
    # In namespaces of our own, mounts and processes end with us.
    CAMD_ARCHITECTURE_WORK=$(mktemp -d -p /var/tmp camd-architecture-XXXXXX)
    export CAMD_ARCHITECTURE_WORK
    trap 'rm -rf --one-file-system "$CAMD_ARCHITECTURE_WORK"' EXIT
    unshare --mount --pid --fork --kill-child "$0" "$@"
    exit
fi
project=$(cd "$(dirname "$0")/.." && pwd)
work=$CAMD_ARCHITECTURE_WORK
root=$work/root
base=
if [ "$1" = --base ]; then
    base=$2
    shift 2
fi
architecture=$1

say() { printf '%s %s\n' "$(date +%T)" "$*"; }
fail() {
    say "FAILED: $*"
    local file
    for file in "${log:-}" "$work/service.log"; do
        [ ! -s "$file" ] || { say "$file:"; tail -n 20 "$file"; }
    done
    exit 1
}
# Arguments: seconds, and a command of the root.
within() {
    local limit=$1
    shift
    timeout --kill-after 10 "$limit" "${inside[@]}" "$@"
}
# The same as the user of the service. setpriv(1) becomes the command, and starts no process.
as_service() {
    local limit=$1
    shift
    within "$limit" "${user[@]}" "$@"
}
user=(setpriv --reuid camd --regid camd --init-groups)
inside=(chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
    DEBIAN_FRONTEND=noninteractive)

mount -t proc proc /proc
native=$(dpkg --print-architecture)
case $architecture in
arm64) machine=aarch64 ;;
amd64) machine=x86_64 ;;
*) fail "there is no package for $architecture" ;;
esac
if [ "$architecture" != "$native" ]; then
    # Debian's package registers the emulator only where systemd runs.
    binfmt=/proc/sys/fs/binfmt_misc
    mount -t binfmt_misc none $binfmt
    if [ ! -e "$binfmt/qemu-$machine" ]; then
        cat "/usr/lib/binfmt.d/qemu-$machine.conf" >$binfmt/register ||
            fail "no emulator for $architecture: apt-get install qemu-user-static"
        trap 'echo -1 >"$binfmt/qemu-$machine"' EXIT
    fi
fi

say "making a minimal Debian of $architecture"
log=$work/root.log
if [ -z "$base" ] || [ ! -d "$base" ]; then
    mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Identifier: Packages' |
        awk '$1 == "bookworm" { print $2; exit }')
    debootstrap --arch="$architecture" --variant=minbase bookworm "${base:-$root}" \
        "${mirror:-http://deb.debian.org/debian}" >"$log" 2>&1 || fail "debootstrap"
fi
[ -z "$base" ] || cp -a "$base" "$root"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" # no service is started in there
chmod +x "$root/usr/sbin/policy-rc.d"
echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/no-sync" # the root is thrown away
for file in /etc/resolv.conf /etc/hosts; do
    cp --dereference "$file" "$root$file"
done
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --make-rslave "$root/sys"
mount -t tmpfs tmpfs "$root/run"

say "building the package"
log=$work/build.log
mkdir "$work/source"
git -C "$project" archive HEAD | tar -x -C "$work/source"
"${PYTHON:-python3}" "$work/source/packaging/build_deb.py" --output "$work" --python 3.11 \
    --architecture "$architecture" >"$log" 2>&1 || fail "it was not built"
cp "$work"/camd_*_"$architecture".deb "$root/tmp/"

say "installing it with what it depends on"
log=$work/install.log
within 1800 apt-get -q update >"$log" 2>&1 || fail "apt-get update"
within 3600 apt-get -q install --yes --no-install-recommends \
    "/tmp/$(cd "$work" && echo camd_*.deb)" >>"$log" 2>&1 || fail "it was not installed"
log=$work/last.log
said=$(within 300 camd --version) || fail "camd --version"
[ "$(within 60 uname -m)" = "$machine" ] || fail "the root is not of $machine"
say "installed: $said, $(within 60 ffmpeg -version | sed -n '1s/ Copyright.*//p'), \
$(within 60 python3 --version), $machine"

log=$work/last.log
within 300 camd check --config-only >"$log" 2>&1 || fail "the shipped configuration is wrong"
say "the shipped configuration is right"

# The shipped configuration with a camera, on a port that nothing of this machine has.
port=$(python3 -c 'import socket; s = socket.create_server(("", 0)); print(s.getsockname()[1])')
sed -i "s/127\.0\.0\.1:8002/127.0.0.1:$port/; s/^rotation = .*/rotation = \"5s\"/
    s/^\[server\]$/&\nhealth_listen = \"\"/
    s/^\[storage\]$/&\nwarn_percent = 94.0\nblock_percent = 95.0/" "$root/etc/camd/camd.toml"
grep -q ":$port" "$root/etc/camd/camd.toml" || fail "the shipped configuration has another port"
cat >>"$root/etc/camd/camd.toml" <<'TOML'
[[camera]]
source = "test:?size=160x120&rate=5"
TOML
within 60 install -d -o camd -g camd -m 0750 /var/lib/camd /run/camd # as systemd does
as_service 600 camd check >"$log" 2>&1 || fail "camd check has found something"
say "camd check finds nothing that would keep it from recording"

start() {
    "${inside[@]}" "${user[@]}" camd run >>"$work/service.log" 2>&1 &
    service=$!
    for _ in $(seq 150); do
        if within 120 camd status >"$log" 2>&1; then return; fi
        kill -0 "$service" 2>/dev/null || fail "the service ended"
        sleep 2
    done
    fail "the service does not answer"
}
recorded() { find "$root/var/lib/camd/recordings" -name '*.mp4' | wc -l; }

start
say "the service answers"
within 300 camd record camera0 --for 10s >"$log" 2>&1 || fail "nothing was recorded"
say "recorded: $(tail -n 1 "$log")"
within 300 camd snapshot camera0 >"$log" 2>&1 || fail "no snapshot was taken"
say "a snapshot was taken"

before=$(recorded)
within 600 camd record camera0 --for 1h >"$work/record.log" 2>&1 &
client=$!
for _ in $(seq 300); do
    [ "$(recorded)" -lt $((before + 2)) ] || break
    kill -0 "$client" 2>/dev/null || { log=$work/record.log; fail "the recording ended"; }
    sleep 1
done
kill -KILL "$service"
wait "$service" 2>/dev/null || true
start
within 300 camd status --json >"$log" 2>&1 || fail "camd status"
within 300 camd stop camera0 >"$log" 2>&1 || fail "the session did not go on after SIGKILL"
say "killed while it recorded, the session went on: $(tail -n 1 "$log")"
within 600 camd verify >"$log" 2>&1 || fail "the recordings are not what they should be"
say "verified: $(tail -n 1 "$log")"
kill -TERM "$service"
status=0
wait "$service" || status=$?
[ "$status" = 0 ] || fail "the service ended with status $status"
say "the service ended in order"

as_service 1200 camd selftest >"$log" 2>&1 || fail "camd selftest"
say "self-tested: $(tail -n 1 "$log")"

files=$(recorded)
[ "$files" -gt 3 ] || fail "there are only $files recordings"
log=$work/remove.log
within 900 apt-get -q remove --yes camd >"$log" 2>&1 || fail "it was not removed"
[ ! -e "$root/usr/bin/camd" ] && [ -e "$root/etc/camd/camd.toml" ] ||
    fail "a removal takes the program, and leaves the configuration"
[ ! -e "$root/usr/lib/camd" ] || fail "it left $(find "$root/usr/lib/camd" | head -n 5)"
within 900 apt-get -q purge --yes camd >"$log" 2>&1 || fail "it was not purged"
[ ! -e "$root/etc/camd/camd.toml" ] || fail "a purge takes the configuration"
[ "$(recorded)" = "$files" ] || fail "$files recordings became $(recorded)"
say "removed and purged; all $files recordings are left"
