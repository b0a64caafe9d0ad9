#!/usr/bin/env bash
# Wakes a paused node (SIGCONT).
set -euo pipefail
# shellcheck source=cluster/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ "${1:-}" != --help ] || { echo "usage: cluster/resume.sh N"; exit 0; }
require_node "${1:-}"
pid="$(node_pid "$1")" || die "node $1 does not run"
kill -CONT "$pid"
echo "node $1 resumed (pid $pid)"
