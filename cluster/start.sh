#!/usr/bin/env bash
# Starts node N of a formatted cluster; does nothing when it runs. Waits until it is open.
set -euo pipefail
# shellcheck source=cluster/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
usage 1 "cluster/start.sh N" "$@"
require_node "${1:-}"
id="$1"
if pid="$(node_pid "$id")"; then
  if is_paused "$id"; then die "node $id is paused (pid $pid); wake it with cluster/resume.sh $id"; fi
  echo "node $id already runs (pid $pid)"
  exit 0
fi
dir="$(node_dir "$id")"
log="$dir/node.log"
touch "$log"
log_before="$(stat --format=%s "$log")"

# Its own session, so that the terminal's signals do not reach the node; nothing of what the caller
# holds open, or a lock or a pipe of his would live as long as the node. The data directory is an
# argument only to be seen in the process list: pid files are believed when the process names it.
launch() {
  local fd
  for fd in /proc/self/fd/*; do
    fd="${fd##*/}"
    if [ "$fd" -gt 2 ]; then eval "exec $fd>&-"; fi
  done
  exec setsid --fork bash "$CLUSTER_DIR/supervise.sh" "$id" "$DATA_DIR"
}

# Says what happened, why in the node's own words, and what can be done.
failed() {
  local words hint=''
  words="$(tail --bytes="+$((log_before + 1))" "$log" | node "$CLUSTER_DIR/last-words.mjs")"
  case "$words" in
    *EADDRINUSE*) hint="
another process has that port: end it; the ports of this node are set in $dir/node.yaml" ;;
  esac
  # 65: its data is gone, or is not its own.
  if [ "$(cat "$dir/node.exit" 2>/dev/null)" = 65 ]; then hint="
a node that lost its data cannot be admitted again yet; the other nodes work on while they are a
majority, and cluster/wipe.sh followed by cluster/up.sh starts a new, empty cluster"; fi
  die "node $id $1${words:+: $words}
see $log$hint"
}

# Where a supervisor is about to start the node again, it is waited for.
if ! supervisor_pid "$id" >/dev/null; then
  rm --force "$dir/node.exit"
  (launch) </dev/null >/dev/null 2>&1
fi
begun() { supervisor_pid "$id" || [ -f "$dir/node.exit" ]; }
wait_for 10 begun || failed "did not start"
# A node that refuses to run ends at once; one that opens a long log takes its time.
open_or_ended() { node_started "$id" || ! supervisor_pid "$id"; }
if ! wait_for 60 open_or_ended; then
  node_live "$id" || failed "does not answer"
  echo "node $id still opens its data (pid $(node_pid "$id")); see $log"
  exit 0
fi
supervisor_pid "$id" >/dev/null || failed "ended by itself"
echo "node $id started (pid $(node_pid "$id"), http 127.0.0.1:$(http_port "$id"), grpc 127.0.0.1:$(grpc_port "$id"))"
