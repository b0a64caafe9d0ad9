#!/usr/bin/env bash
# Starts node N of a formatted cluster; does nothing when it runs. Waits until it answers.
set -euo pipefail
# shellcheck source=cluster/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
usage 1 "cluster/start.sh N" "$@"
require_node "${1:-}"
if pid="$(node_pid "$1")"; then
  echo "node $1 already runs (pid $pid)"
  exit 0
fi
dir="$(node_dir "$1")"
# Its own session, so that the terminal's signals do not reach the node. The data directory is an
# argument only to be seen in the process list: pid files are believed when the process names it.
# Where a supervisor is about to start the node again, it is waited for.
supervisor_pid "$1" >/dev/null ||
  setsid --fork bash "$CLUSTER_DIR/supervise.sh" "$1" "$DATA_DIR" </dev/null >/dev/null 2>&1
failed() { die "node $1 $2: $(tail --lines=3 "$dir/node.log"; true)
see $dir/node.log"; }
wait_for 10 supervisor_pid "$1" || failed "$1" "did not start"
# A node that refuses to run ends at once; one that opens a long log takes its time.
answers_or_ended() { node_live "$1" || ! supervisor_pid "$1"; }
wait_for 60 answers_or_ended "$1" || failed "$1" "does not answer"
supervisor_pid "$1" >/dev/null || failed "$1" "ended by itself"
echo "node $1 started (pid $(node_pid "$1"), http 127.0.0.1:$(http_port "$1"))"
