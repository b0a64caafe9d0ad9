#!/usr/bin/env bash
# Shows the log of one node, or of all; -f follows.
set -euo pipefail
# shellcheck source=cluster/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
follow=()
nodes=()
for argument in "$@"; do
  case "$argument" in
    -h | --help) echo "usage: cluster/logs.sh [-f] [N …]"; exit 0 ;;
    -f) follow=(--follow) ;;
    *) require_node "$argument"; nodes+=("$argument") ;;
  esac
done
[ ${#nodes[@]} -gt 0 ] || mapfile -t nodes < <(node_ids)
[ ${#nodes[@]} -gt 0 ] || die "no nodes here; run cluster/up.sh first"
files=()
for id in "${nodes[@]}"; do files+=("$(node_dir "$id")/node.log"); done
exec tail --lines=100 "${follow[@]}" "${files[@]}"
