#!/usr/bin/env bash
# Freezes a node (SIGSTOP): to the others it looks like a hung machine. resume.sh N wakes it.
set -euo pipefail
# shellcheck source=cluster/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
usage 1 "cluster/pause.sh N|leader" "$@"
id="$(resolve_node "${1:-}")"
pid="$(node_pid "$id")" || die "node $id does not run"
kill -STOP "$pid"
echo "node $id paused (pid $pid); wake it with cluster/resume.sh $id"
