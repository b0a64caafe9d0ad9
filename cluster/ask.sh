# shellcheck shell=bash
# Asking the nodes how they are, and waiting for it. Sourced by lib.sh, never run.

# Asks the nodes: ask MODE [N …]; modes are those of status.mjs. Only the process that we started is
# believed: another cluster may answer on the port of a node that does not run.
ask() {
  local mode="$1" id ids arguments=()
  shift
  ids="${*:-$(node_ids)}"
  for id in $ids; do
    arguments+=("$id,$(http_port "$id"),$(grpc_port "$id"),$(node_pid "$id" || echo 0)")
  done
  node "$CLUSTER_DIR/status.mjs" "$mode" "${arguments[@]}"
}

# The number of the node that leads; fails when none does.
leader_id() { ask leader; }
node_live() { ask livez "$1"; }
node_started() { ask startupz "$1"; }
node_ready() { ask readyz "$1"; }

# Resolves "leader" or a number to a node number.
resolve_node() {
  if [ "${1:-}" = leader ]; then
    leader_id || die "no node leads at the moment"
  else
    require_node "${1:-}"
    echo "$1"
  fi
}

# Waits until a command succeeds: wait_for SECONDS COMMAND…
wait_for() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.1
  done
}
