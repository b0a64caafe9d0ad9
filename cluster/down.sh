#!/usr/bin/env bash
# Stops every node of the local cluster, followers first. The data stays; up.sh starts it again.
set -euo pipefail
# shellcheck source=cluster/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
usage 0 "cluster/down.sh" "$@"
[ -n "$(node_ids)" ] || { echo "no cluster here"; exit 0; }
leader="$(leader_id || true)"
for id in $(node_ids | grep --invert-match --line-regexp "${leader:-none}") $leader; do
  "$CLUSTER_DIR/stop.sh" "$id"
done
