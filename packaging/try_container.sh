#!/bin/bash
# Builds the container image, runs it, and looks whether it does what it should.
#
#   packaging/try_container.sh [--base FOLDER]
#
# The service in the container has to be healthy, to record a synthetic camera, to end in order, and
# to have the recordings when another container gets the same volume; a service that hangs has to be
# unhealthy. Everything is below a temporary folder, and removed at the end. Needs podman, runc and
# Python with pip, and root. Without a registry at hand, --base takes the file system of the base
# image from a folder, which debootstrap makes when it is not there.
# Variables: PYTHON, PODMAN (with options).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d -p /var/tmp camd-container-XXXXXX)
read -r -a podman <<<"${PODMAN:-podman --storage-driver=vfs --cgroup-manager=cgroupfs \
    --events-backend=file --runtime=runc}"
podman+=(--root "$work/storage" --runroot "$work/run")

clean_up() {
    "${podman[@]}" rm --all --force >"$work/clean_up.log" 2>&1 || true
    rm -rf "$work"
}
trap clean_up EXIT
say() { printf '%s\n' "-- $*"; }
fail() { say "FAILED: $*"; "${podman[@]}" logs camd 2>&1 | tail -n 20 || true; exit 1; }
within() { "${podman[@]}" exec camd "$@"; }

# The command of HEALTHCHECK, by hand: podman needs systemd to repeat it.
healthy() { within timeout 10 "${health[@]}" >"$work/health.log" 2>&1; }

start() {
    "${podman[@]}" run --detach --name camd --network none --no-healthcheck \
        --ulimit nofile=1024:4096 --ulimit nproc=4096:4096 \
        --volume recordings:/var/lib/camd --volume "$work/camd.toml:/etc/camd/camd.toml:ro" \
        camd >"$work/start.log" || fail "the container did not start"
    for _ in $(seq 60); do
        if healthy; then return; fi
        sleep 1
    done
    fail "not healthy within a minute: $(cat "$work/health.log")"
}

base=$(sed -n 's/^FROM //p' "$root/packaging/Containerfile")
if [ "${1:-}" = --base ]; then
    folder=$2
    if [ ! -d "$folder" ]; then
        say "making $folder"
        debootstrap --variant=minbase bookworm "$folder" >"$work/debootstrap.log"
    fi
    tar -C "$folder" --exclude='./var/cache/apt/archives/*.deb' -cf - . |
        "${podman[@]}" import - "$base" >"$work/import.log" 2>&1
fi

say "building"
mkdir -p "$work/context/packaging"
architecture=$(dpkg --print-architecture)
"${PYTHON:-python3}" "$root/packaging/build_deb.py" --output "$work/context/dist" \
    --python 3.11 --architecture "$architecture"
cp "$root/packaging/Containerfile" "$work/context/packaging/"
"${podman[@]}" build --format docker --isolation chroot --pull=missing --layers=false \
    --file "$work/context/packaging/Containerfile" --tag camd "$work/context" \
    >"$work/build.log" 2>&1 || { tail -n 20 "$work/build.log"; fail "the image was not built"; }
mapfile -t health < <("${podman[@]}" image inspect --format \
    '{{range .Config.Healthcheck.Test}}{{println .}}{{end}}' camd | sed '/^CMD$/d; /^$/d')
say "built; its health check is: ${health[*]}"

cat >"$work/camd.toml" <<'TOML'
[server]
listen = ["127.0.0.1:8002", "unix:/run/camd/camd.sock"]
[storage]
warn_percent = 94.0
block_percent = 95.0
[discovery]
v4l2 = false
[[camera]]
source = "test:?size=320x240&rate=15"
TOML
chmod 0644 "$work/camd.toml"

start
say "healthy"
within camd record camera0 --for 5s || fail "nothing was recorded"
within camd verify || fail "the recordings are not what they should be"
before=$(within camd ls --json | grep -c '"filename"')

"${podman[@]}" kill --signal STOP camd >"$work/signal.log"
if healthy; then fail "a service that hangs is healthy"; fi
say "unhealthy while it hangs"
"${podman[@]}" kill --signal CONT camd >"$work/signal.log"

"${podman[@]}" stop --time 30 camd >"$work/stop.log"
status=$("${podman[@]}" inspect --format '{{.State.ExitCode}}' camd)
[ "$status" = 0 ] || fail "it ended with status $status"
"${podman[@]}" rm camd >"$work/remove.log"
say "ended in order and removed"

start
after=$(within camd ls --json | grep -c '"filename"')
[ "$after" = "$before" ] || fail "$before recordings became $after"
within camd verify || fail "the recordings are not what they were"
"${podman[@]}" stop --time 30 camd >"$work/stop.log"
say "another container has the $after recordings"
