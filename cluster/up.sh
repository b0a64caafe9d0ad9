#!/usr/bin/env bash
# Starts a local cluster: installs and builds if needed, formats the nodes once, starts those that
# do not run, waits for a leader. Safe to repeat. NODES=1, 3 (default) or 5.
set -euo pipefail
# shellcheck source=cluster/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
usage 0 "[NODES=1|3|5] [ASSENT_BASE_PORT=36789] cluster/up.sh" "$@"
require_base_port
size="$(cluster_size)"
fresh=0
if [ "$size" -eq 0 ]; then
  fresh=1
  size="${NODES:-3}"
  require_size "$size"
else
  [ "${NODES:-$size}" = "$size" ] ||
    die "$DATA_DIR holds a cluster of $size nodes; NODES=$NODES needs cluster/wipe.sh first"
  first="$(http_port "$(node_ids | head --lines=1)")"
  first=$((first - 10 * ($(node_ids | head --lines=1) - 1)))
  [ "${ASSENT_BASE_PORT:-$first}" = "$first" ] ||
    die "$DATA_DIR holds a cluster on the ports from $first, which ASSENT_BASE_PORT=$BASE_PORT cannot change: leave it out, or name another folder in ASSENT_CLUSTER_DATA for another cluster"
fi
"$CLUSTER_DIR/build.sh"

# Prints "id,port,purpose" of every port that has yet to be taken.
ports_to_take() {
  local id http
  for id in $(seq "$size"); do
    if [ "$fresh" -eq 1 ]; then
      http=$((BASE_PORT + 10 * (id - 1)))
      echo "$id,$http,HTTP $id,$((http + 1)),gRPC $id,$((http + 2)),peers"
    elif [ -f "$(node_dir "$id")/node.yaml" ] && ! supervisor_pid "$id" >/dev/null; then
      echo "$id,$(http_port "$id"),HTTP $id,$(grpc_port "$id"),gRPC $id,$(peer_port "$id"),peers"
    fi
  done
}
# Before anything is formatted or started.
# shellcheck disable=SC2046 # one argument per port
if ! taken="$(node "$CLUSTER_DIR/free-ports.mjs" $(ports_to_take))"; then
  [ "$fresh" -eq 0 ] ||
    die "$taken; set ASSENT_BASE_PORT to a free range, such as ASSENT_BASE_PORT=$((BASE_PORT > 64000 ? 36789 : BASE_PORT + 1000))"
  die "$taken; end that process: the ports of this cluster were set by ASSENT_BASE_PORT when it was formatted (cluster/wipe.sh deletes it)"
fi
if [ "$fresh" -eq 1 ]; then "$CLUSTER_DIR/format.sh" "$size"; fi

starting=() # what this call starts
jobs_of=()
for id in $(seq "$size"); do
  node_pid "$id" >/dev/null || starting+=("$id")
  "$CLUSTER_DIR/start.sh" "$id" >/dev/null &
  jobs_of[id]=$!
done
failing=()
for id in $(seq "$size"); do wait "${jobs_of[id]}" || failing+=("$id"); done

majority_runs() {
  local id running=0
  for id in $(seq "$size"); do
    if node_pid "$id" >/dev/null && ! is_paused "$id"; then running=$((running + 1)); fi
  done
  [ $((2 * running)) -gt "$size" ]
}
# A cluster that cannot serve is not left half started.
give_up() {
  local id
  for id in "${starting[@]}"; do
    if [ -d "$(node_dir "$id")" ]; then "$CLUSTER_DIR/stop.sh" "$id" >/dev/null || true; fi
  done
  die "$*; what this call had started is stopped again"
}
majority_runs || give_up "node ${failing[*]} did not start (see above), and the others are no majority"
[ "$fresh" -eq 0 ] || [ ${#failing[@]} -eq 0 ] || give_up "node ${failing[*]} did not start (see above)"
leads_or_hopeless() { leader_id || ! majority_runs; }
wait_for 30 leads_or_hopeless || die "no leader after 30 s; see cluster/logs.sh"
majority_runs || give_up "the nodes ended by themselves; see cluster/logs.sh"
for id in $(seq "$size"); do
  case " ${failing[*]} " in *" $id "*) continue ;; esac
  ready_or_ended() { node_ready "$id" || ! supervisor_pid "$id"; }
  wait_for 30 ready_or_ended || die "node $id is not ready after 30 s; see cluster/logs.sh $id"
  supervisor_pid "$id" >/dev/null || failing+=("$id")
done
"$CLUSTER_DIR/status.sh"
[ ${#failing[@]} -eq 0 ] || die "node ${failing[*]} does not serve; the others are a majority and do"
cat <<EOM

Any node takes any request. Try a saga (empty URLs succeed without a call):
  curl -d '{"gid":"first-'\$RANDOM'","trans_type":"saga","steps":[{"action":"","compensate":""}],"payloads":["{}"],"wait_result":true}' \\
    http://127.0.0.1:$(http_port 1)/api/dtmsvr/submit
  curl http://127.0.0.1:$(http_port "$size")/api/dtmsvr/all
Then: cluster/kill.sh leader · cluster/status.sh · cluster/start.sh N · cluster/down.sh
EOM
