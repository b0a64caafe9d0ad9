#!/usr/bin/env bash
# Starts a local cluster: installs and builds if needed, formats the nodes once, starts those that
# do not run, waits for a leader. Safe to repeat. NODES=1, 3 (default) or 5.
set -euo pipefail
# shellcheck source=cluster/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
usage 0 "[NODES=1|3|5] cluster/up.sh" "$@"
"$CLUSTER_DIR/build.sh"

existing="$(node_ids | wc --lines)"
nodes="${NODES:-$([ "$existing" -gt 0 ] && echo "$existing" || echo 3)}"
[[ "$nodes" =~ ^[1-9]$ ]] || die "NODES must be a number from 1 to 9, got '$nodes'"
if [ "$existing" -eq 0 ]; then
  "$CLUSTER_DIR/format.sh" "$nodes"
elif [ "$existing" -ne "$nodes" ]; then
  die "$DATA_DIR holds a cluster of $existing nodes; NODES=$nodes needs cluster/wipe.sh first"
fi

for id in $(seq "$nodes"); do "$CLUSTER_DIR/start.sh" "$id" >/dev/null & done
wait
wait_for 30 leader_id || die "no leader after 30 s; see cluster/logs.sh"
for id in $(seq "$nodes"); do
  wait_for 30 node_ready "$id" || die "node $id is not ready after 30 s; see cluster/logs.sh $id"
done
"$CLUSTER_DIR/status.sh"
cat <<EOM

Any node takes any request. Try a saga (empty URLs succeed without a call):
  curl -d '{"gid":"first-'\$RANDOM'","trans_type":"saga","steps":[{"action":"","compensate":""}],"payloads":["{}"],"wait_result":true}' \\
    http://127.0.0.1:$(http_port 1)/api/dtmsvr/submit
  curl http://127.0.0.1:$(http_port "$nodes")/api/dtmsvr/all
Then: cluster/kill.sh leader · cluster/status.sh · cluster/start.sh N · cluster/down.sh
EOM
