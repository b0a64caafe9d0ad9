#!/usr/bin/env bash
# Stops node N gracefully (SIGTERM): it hands leadership over, ends what is in flight, and exits.
set -euo pipefail
# shellcheck source=cluster/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
usage 1 "cluster/stop.sh N|leader" "$@"
id="$(resolve_node "${1:-}")"
if supervisor="$(supervisor_pid "$id")" && ! node_pid "$id" >/dev/null; then
  kill -TERM "$supervisor" # between two restarts
  exit 0
fi
pid="$(node_pid "$id")" || { echo "node $id does not run"; exit 0; }
kill -CONT "$pid" # a paused node cannot stop
kill -TERM "$pid"
gone() { ! supervisor_pid "$id"; }
wait_for 30 gone || die "node $id (pid $pid) did not stop within 30 s"
echo "node $id stopped"
