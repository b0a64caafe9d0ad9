#!/usr/bin/env bash
# Wakes a paused node (SIGCONT). A paused leader is soon none: "leader" wakes whatever was paused.
set -euo pipefail
# shellcheck source=cluster/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
usage 1 "cluster/resume.sh N|leader" "$@"
ids=()
if [ "${1:-}" = leader ]; then
  for id in $(node_ids); do if is_paused "$id"; then ids+=("$id"); fi; done
  [ ${#ids[@]} -gt 0 ] || die "no node is paused"
else
  require_node "${1:-}"
  ids=("$1")
fi
for id in "${ids[@]}"; do
  pid="$(node_pid "$id")" || die "node $id does not run"
  kill -CONT "$pid"
  echo "node $id resumed (pid $pid)"
done
