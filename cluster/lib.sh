# shellcheck shell=bash
# What the cluster scripts share: where things are, ports, process ids, and the leader.
# Sourced, never run.
# shellcheck disable=SC2034 # the scripts that source this use them
#
# Node n listens on HTTP 36789 + 10·(n−1), peers + 2; gRPC (+ 1) is reserved.

CLUSTER_DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
ROOT_DIR="$(dirname "$CLUSTER_DIR")"
DATA_DIR="${ASSENT_CLUSTER_DATA:-$CLUSTER_DIR/data}"
BASE_PORT="${ASSENT_BASE_PORT:-36789}"
# The flushes and LevelDB share libuv's pool with dns and fs; Node reads this only at its start.
export UV_THREADPOOL_SIZE="${UV_THREADPOOL_SIZE:-16}"

http_port() { echo $((BASE_PORT + 10 * ($1 - 1))); }
grpc_port() { echo $((BASE_PORT + 1 + 10 * ($1 - 1))); }
peer_port() { echo $((BASE_PORT + 2 + 10 * ($1 - 1))); }
node_dir() { echo "$DATA_DIR/node-$1"; }

die() {
  echo "${0##*/}: $*" >&2
  exit 1
}

# The ids of the nodes that have been formatted here, in order.
node_ids() {
  local dir
  for dir in "$DATA_DIR"/node-*; do
    if [ -f "$dir/node.yaml" ]; then echo "${dir##*-}"; fi
  done | sort --numeric-sort
}

require_node() {
  [[ "${1:-}" =~ ^[1-9][0-9]*$ ]] || die "expected a node number, got '${1:-}'"
  [ -f "$(node_dir "$1")/node.yaml" ] || die "node $1 does not exist here; run cluster/up.sh first"
}

# Prints the pid in a pid file if that process is alive and is what we started.
live_pid() {
  local pid
  [ -f "$1" ] || return 1
  pid="$(<"$1")"
  [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null || return 1
  tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep --quiet --fixed-strings "$DATA_DIR" || return 1
  echo "$pid"
}

node_pid() { live_pid "$(node_dir "$1")/node.pid"; }
supervisor_pid() { live_pid "$(node_dir "$1")/supervisor.pid"; }

# Asks the nodes: ask MODE [N …]; modes are those of status.mjs.
ask() {
  local mode="$1" id ids arguments=()
  shift
  ids="${*:-$(node_ids)}"
  for id in $ids; do
    arguments+=("$id,$(http_port "$id"),$(node_pid "$id" || echo 0)")
  done
  node "$CLUSTER_DIR/status.mjs" "$mode" "${arguments[@]}"
}

# The number of the node that leads; fails when none does.
leader_id() { ask leader; }
node_live() { ask livez "$1"; }
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
