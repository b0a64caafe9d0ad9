#!/usr/bin/env bash
# The main job on real input: a three-node cluster, two banks, transfers through every node while
# the leader is killed, and the ledger at the end. Leaves the cluster running.
set -euo pipefail
# shellcheck source=cluster/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
usage 0 "[SECONDS_OF_LOAD=15] cluster/demo.sh" "$@"
seconds="${SECONDS_OF_LOAD:-15}"
[[ "$seconds" =~ ^[1-9][0-9]{0,3}$ && "$seconds" -le 3600 ]] ||
  die "SECONDS_OF_LOAD must be a number of seconds from 1 to 3600, got '$seconds'"
"$CLUSTER_DIR/up.sh" || die "needs a whole cluster: see above"
nodes="$(for id in $(node_ids); do echo "$id:$(http_port "$id")"; done | paste --serial --delimiters=,)"
cd "$ROOT_DIR"
echo
echo "transfers between two banks through every node; the leader will be killed on the way"
status=0
node --import tsx cluster/demo/transfers.ts --data "$DATA_DIR" --nodes "$nodes" \
  --seconds "$seconds" --scripts "$CLUSTER_DIR" || status=$?
for id in $(node_ids); do "$CLUSTER_DIR/start.sh" "$id" >/dev/null || status=1; done
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
