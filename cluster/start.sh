#!/usr/bin/env bash
# Starts node N of a formatted cluster; does nothing when it runs. Waits until it answers.
set -euo pipefail
# shellcheck source=cluster/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ "${1:-}" != --help ] || { echo "usage: cluster/start.sh N"; exit 0; }
require_node "${1:-}"
if pid="$(node_pid "$1")"; then
  echo "node $1 already runs (pid $pid)"
  exit 0
fi
dir="$(node_dir "$1")"
# Its own session, so that the terminal's signals do not reach the node. The data directory is an
# argument only to be seen in the process list: pid files are believed when the process names it.
setsid --fork bash "$CLUSTER_DIR/supervise.sh" "$1" "$DATA_DIR" </dev/null >/dev/null 2>&1
wait_for 10 node_pid "$1" || die "node $1 did not start; see $dir/node.log"
wait_for 60 node_live "$1" ||
  die "node $1 does not answer; see $dir/node.log"
echo "node $1 started (pid $(node_pid "$1"), http 127.0.0.1:$(http_port "$1"))"
