#!/usr/bin/env bash
# Shows every node: role, term, indexes, lag, pid. --json prints the same as one JSON document.
set -euo pipefail
# shellcheck source=cluster/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
usage 1 "cluster/status.sh [--json]" "$@"
[ -n "$(node_ids)" ] || die "no cluster here; run cluster/up.sh first"
case "${1:-}" in
  '') ask table ;;
  --json) ask json ;;
  *) die "expected --json or nothing, got '$1'" ;;
esac
