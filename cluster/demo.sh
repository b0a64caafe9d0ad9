#!/usr/bin/env bash
# The main job on real input: a three-node cluster, two banks, transfers through every node while
# the leader is killed, and the ledger at the end. Leaves the cluster running.
set -euo pipefail
# shellcheck source=cluster/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
usage 0 "[SECONDS_OF_LOAD=15] cluster/demo.sh" "$@"
"$CLUSTER_DIR/up.sh"
ports="$(for id in $(node_ids); do http_port "$id"; done | paste --serial --delimiters=,)"
cd "$ROOT_DIR"
echo
echo "transfers between two banks through every node; the leader will be killed on the way"
status=0
node --import tsx cluster/demo/transfers.ts --nodes "$ports" --seconds "${SECONDS_OF_LOAD:-15}" \
  --kill-script "$CLUSTER_DIR/kill.sh" --start-script "$CLUSTER_DIR/start.sh" || status=$?
for id in $(node_ids); do "$CLUSTER_DIR/start.sh" "$id" >/dev/null; done
echo
"$CLUSTER_DIR/status.sh"
cat <<EOM

The cluster keeps running. Next things to try:
  cluster/status.sh                         who leads, who lags
  cluster/kill.sh leader                    then submit a saga to a node that is left
  cluster/pause.sh leader; cluster/resume.sh N
  curl 'http://127.0.0.1:$(http_port 1)/api/dtmsvr/all?limit=3'
  npm run bench:cluster                     how fast it is on this machine
  cluster/down.sh                           stop it; cluster/wipe.sh also deletes its data
EOM
exit "$status"
