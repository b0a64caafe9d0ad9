#!/usr/bin/env bash
# Kills a node as a power cut would (SIGKILL). It stays down until start.sh N.
set -euo pipefail
# shellcheck source=cluster/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
usage 1 "cluster/kill.sh N|leader" "$@"
id="$(resolve_node "${1:-}")"
pid="$(node_pid "$id")" || die "node $id does not run"
kill -KILL "$pid"
gone() { ! supervisor_pid "$id"; }
wait_for 10 gone || die "node $id (pid $pid) was killed, but its supervisor still runs"
echo "node $id killed (pid $pid); start it again with cluster/start.sh $id"
