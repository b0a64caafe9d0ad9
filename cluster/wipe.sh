#!/usr/bin/env bash
# Stops the cluster and deletes the data of all its nodes, together: a single node that lost its
# data must never be given an empty directory under its old identity.
set -euo pipefail
# shellcheck source=cluster/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
usage 1 "cluster/wipe.sh" "$@"
[ $# -eq 0 ] || die "takes no argument: nodes are wiped all together or not at all"
"$CLUSTER_DIR/down.sh"
# Only what the scripts made: ASSENT_CLUSTER_DATA may name a folder with other things in it.
for id in $(node_ids); do rm --recursive --force "$(node_dir "$id")"; done
[ ! -d "$DATA_DIR" ] || rmdir --ignore-fail-on-non-empty "$DATA_DIR"
echo "wiped $DATA_DIR"
