# shellcheck shell=bash
# What the cluster scripts share: where things are, ports, arguments, process ids.
# Sourced, never run.
# shellcheck disable=SC2034 # the scripts that source this use them
#
# Node n is formatted to listen on HTTP 36789 + 10·(n−1), on gRPC at the port above, for its peers at
# the one above that. From then on its own file says where it listens.

CLUSTER_DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
ROOT_DIR="$(dirname "$CLUSTER_DIR")"
# Absolute, and handed down: scripts that call scripts may be in another directory by then.
DATA_DIR="$(realpath --canonicalize-missing --no-symlinks "${ASSENT_CLUSTER_DATA:-$CLUSTER_DIR/data}")"
export ASSENT_CLUSTER_DATA="$DATA_DIR"
BASE_PORT="${ASSENT_BASE_PORT:-36789}"
# The flushes and LevelDB share libuv's pool with dns and fs; Node reads this only at its start.
export UV_THREADPOOL_SIZE="${UV_THREADPOOL_SIZE:-16}"

node_dir() { echo "$DATA_DIR/node-$1"; }
http_port() { sed --quiet 's/^HttpPort: //p' "$(node_dir "$1")/node.yaml"; }
grpc_port() { sed --quiet 's/^GrpcPort: //p' "$(node_dir "$1")/node.yaml"; }
peer_port() { sed --quiet 's/^listen: .*peerPort: \([0-9]*\).*/\1/p' "$(node_dir "$1")/node.yaml"; }

die() {
  echo "${0##*/}: $*" >&2
  exit 1
}

# Prints the usage when asked for, refuses surplus arguments: usage MAX TEXT "$@"
usage() {
  local max="$1" text="$2"
  shift 2
  case "${1:-}" in -h | --help) echo "usage: $text"; exit 0 ;; esac
  [ $# -le "$max" ] || die "too many arguments; usage: $text"
}

# The ids of the nodes that have been formatted here, in order.
node_ids() {
  local dir
  for dir in "$DATA_DIR"/node-*; do
    if [ -f "$dir/node.yaml" ]; then echo "${dir##*-}"; fi
  done | sort --numeric-sort
}

# How many nodes the cluster was formatted with: a folder may have been deleted since.
cluster_size() {
  local first
  first="$(node_ids | head --lines=1)"
  [ -n "$first" ] || { echo 0; return; }
  grep --count '^ *- { id: ' "$(node_dir "$first")/node.yaml"
}

require_node() {
  [[ "${1:-}" =~ ^[1-9][0-9]*$ ]] || die "expected a node number, got '${1:-}'"
  [ ! -f "$(node_dir "$1")/node.yaml" ] || return 0
  [ -n "$(node_ids)" ] || die "no cluster here; run cluster/up.sh first"
  die "there is no node $1 in $DATA_DIR, only: $(node_ids | paste --serial --delimiters=' ')"
}

# The number of nodes that a new cluster may have.
require_size() {
  [[ "$1" =~ ^[135]$ ]] || die "the number of nodes (NODES) must be 1, 3 or 5, got '$1'"
}

require_base_port() {
  [[ "$BASE_PORT" =~ ^[1-9][0-9]{3,4}$ && "$BASE_PORT" -ge 1024 && "$BASE_PORT" -le 65399 ]] ||
    die "ASSENT_BASE_PORT must be a port from 1024 to 65399, got '$BASE_PORT'"
}

# Prints the pid in a pid file if that process is alive and names what we started it with.
live_pid() {
  local pid
  [ -f "$1" ] || return 1
  pid="$(<"$1")"
  [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null || return 1
  tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep --quiet --fixed-strings -- "$2 " || return 1
  echo "$pid"
}

node_pid() { live_pid "$(node_dir "$1")/node.pid" "$(node_dir "$1")/node.yaml"; }
supervisor_pid() { live_pid "$(node_dir "$1")/supervisor.pid" "supervise.sh $1 $DATA_DIR"; }
# Whether node N is stopped by pause.sh.
is_paused() {
  local pid
  pid="$(node_pid "$1")" && grep --quiet '^State:[[:space:]]*T' "/proc/$pid/status"
}

# shellcheck source=cluster/ask.sh
source "$CLUSTER_DIR/ask.sh"
