#!/bin/sh
# Calls from a shell, with websocat and curl.
#
#   CAMD_TOKEN=$(cat state/admin.key) sh examples/calls.sh list
#
# Commands: list | record CAMERA | stop CAMERA | events SINCE (websocat);
#           health | files | download NAME (curl).
# The key never stands in an argument of a program, where other users would see it.
set -eu

URL=${CAMD_URL:-ws://127.0.0.1:8002/ws}
HTTP=$(printf %s "$URL" | sed 's,^ws,http,; s,/ws$,,')
: "${CAMD_TOKEN:?Set it to a key: the one of the service is in admin.key in its state folder.}"

MESSAGE=$(umask 077 && mktemp)
trap 'rm -f "$MESSAGE"' EXIT

# One call on a connection of its own. The key comes with a call before it, in the same message,
# which also switches notifications off: the only line that comes back is the array of answers.
call() {
    printf '[{"jsonrpc":"2.0","id":0,"method":"unsubscribe_events","params":{"auth_token":"%s"}},' \
        "$CAMD_TOKEN" > "$MESSAGE"
    printf '{"jsonrpc":"2.0","id":1,"method":"%s","params":{%s}}]\n' "$1" "${2:-}" >> "$MESSAGE"
    websocat --text --no-close --one-message "$URL" < "$MESSAGE"
}

# A GET with the key in a header that curl reads from its standard input.
get() {
    printf 'header = "X-API-Key: %s"\n' "$CAMD_TOKEN" | curl --config - -fsS "$@"
}

case "${1:-}" in
list) call get_camera_list ;;
record) call start_recording "\"device\":\"$2\"" ;;
stop) call stop_recording "\"device\":\"$2\"" ;;
events) # everything behind the number SINCE, and then new events, until Ctrl-C
    printf '{"jsonrpc":"2.0","id":1,"method":"subscribe_events","params":{"since":%s,"auth_token":"%s"}}\n' \
        "${2:-0}" "$CAMD_TOKEN" | websocat --text --no-close "$URL"
    ;;
health) curl -fsS "$HTTP/health/system" ;;
files) call list_recordings ;;
download) # goes on where an earlier try has stopped
    get -C - -o "$2" "$HTTP/files/recordings/$2"
    ;;
*)
    sed -n '3,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
