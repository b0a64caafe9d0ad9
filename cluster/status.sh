#!/usr/bin/env bash
# Shows every node: role, term, indexes, lag, pid. --json prints the same as one JSON document.
set -euo pipefail
# shellcheck source=cluster/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ "${1:-}" != --help ] || { echo "usage: cluster/status.sh [--json]"; exit 0; }
[ -n "$(node_ids)" ] || die "no cluster here; run cluster/up.sh first"
ask "$([ "${1:-}" = --json ] && echo json || echo table)"
