#!/bin/bash
# Installs the wheel and the source distribution with pipx on several Pythons, and looks whether
# what was installed does what it should.
#
#   packaging/try_pythons.sh PYTHON...     (such as python3.11 ~/.pyenv/versions/3.14.0/bin/python)
#
# On each Python `camd --version` and `camd --help` have to work, and `camd demo` has to record, to
# answer the link to the web page that it prints, and to end in order at SIGTERM. Everything is below
# a temporary folder, and removed at the end. Needs pip and venv in each Python, an FFmpeg, and the
# package index.
set -euo pipefail
if [ $# = 0 ] || [ "$1" = -h ] || [ "$1" = --help ]; then
    sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p}' "$0"
    [ $# != 0 ] || exit 2
    exit 0
fi
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d -p /var/tmp camd-pythons-XXXXXX)
demo=

clean_up() {
    [ -z "$demo" ] || kill -TERM "$demo" 2>/dev/null || true
    wait
    rm -rf "$work"
}
trap clean_up EXIT
say() { printf '%s\n' "-- $*"; }
fail() { say "FAILED: $*"; exit 1; }

# What the web page does first with its link: it gets its own files, and signs in with the code.
cat >"$work/follow.py" <<'PYTHON'
import json
import re
import sys
import urllib.request

address, code = sys.argv[1].split("/#code=")
page = urllib.request.urlopen(address, timeout=60).read().decode()
files = [path for path in re.findall(r'(?:src|href)="([^":#]+)"', page) if path.strip("./")]
assert files, page
for path in files:
    with urllib.request.urlopen(urllib.request.urljoin(address + "/", path), timeout=60) as answer:
        assert answer.read(), path
body = json.dumps({"code": code}).encode()
request = urllib.request.Request(f"{address}/session", body, {"Origin": address})
print(json.load(urllib.request.urlopen(request, timeout=60))["role"])
PYTHON

try_demo() { # the program, the Python, a log
    TMPDIR=$work/tmp "$1" demo </dev/null >"$3" 2>&1 &
    demo=$!
    link=
    for _ in $(seq 300); do
        link=$(sed -n 's|.*\(http://[^ ]*/#code=[^ ]*\).*|\1|p' "$3" | head -n 1)
        [ -z "$link" ] || break
        kill -0 "$demo" 2>/dev/null || { cat "$3"; fail "camd demo ended"; }
        sleep 1
    done
    [ -n "$link" ] || { cat "$3"; fail "camd demo printed no link within five minutes"; }
    role=$("$2" "$work/follow.py" "$link") || fail "the link does not lead to the web page"
    [ "$role" = admin ] || fail "the link signs in with the role $role"
    kill -TERM "$demo"
    status=0
    wait "$demo" || status=$?
    demo=
    [ "$status" = 0 ] || { cat "$3"; fail "camd demo ended with status $status"; }
    [ -z "$(ls -A "$work/tmp")" ] || fail "camd demo left files: $(ls -A "$work/tmp")"
}

mkdir "$work/tmp"
say "building"
"$1" -m venv "$work/build"
"$work/build/bin/pip" install --quiet build
"$work/build/bin/python" -m build --outdir "$work/dist" "$root" >"$work/build.log" 2>&1 ||
    { tail -n 20 "$work/build.log"; fail "nothing was built"; }
say "built $(cd "$work/dist" && echo *)"

for python in "$@"; do
    version=$("$python" -c 'import platform; print(platform.python_version())')
    "$python" -m venv "$work/$version"
    "$work/$version/bin/pip" install --quiet pipx
    for distribution in "$work"/dist/*.whl "$work"/dist/*.tar.gz; do
        export PIPX_HOME=$work/pipx PIPX_BIN_DIR=$work/bin PIPX_MAN_DIR=$work/man
        "$work/$version/bin/pipx" install --python "$python" "$distribution" \
            >"$work/pipx.log" 2>&1 ||
            { tail -n 20 "$work/pipx.log"; fail "pipx on Python $version did not install it"; }
        said=$("$work/bin/camd" --version) || fail "camd --version on Python $version"
        "$work/bin/camd" --help >"$work/help.log" || fail "camd --help on Python $version"
        try_demo "$work/bin/camd" "$python" "$work/demo.log"
        "$work/$version/bin/pipx" uninstall camd >"$work/pipx.log" 2>&1 ||
            fail "pipx on Python $version did not remove it"
        say "Python $version, ${distribution##*.}: $said, its demo, its web page"
    done
done
