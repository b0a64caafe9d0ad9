# shellcheck shell=bash
# What the cluster scripts share: where things are, ports, arguments, process ids.
# Sourced, never run.
# shellcheck disable=SC2034 # the scripts that source this use them
#
# Node n is formatted to listen on HTTP 36789 + 10·(n−1), peers + 2; gRPC (+ 1) is reserved. From then
# on its own file says where it listens.

CLUSTER_DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
ROOT_DIR="$(dirname "$CLUSTER_DIR")"
DATA_DIR="${ASSENT_CLUSTER_DATA:-$CLUSTER_DIR/data}"
BASE_PORT="${ASSENT_BASE_PORT:-36789}"
# The flushes and LevelDB share libuv's pool with dns and fs; Node reads this only at its start.
export UV_THREADPOOL_SIZE="${UV_THREADPOOL_SIZE:-16}"

http_port() { sed --quiet 's/^HttpPort: //p' "$(node_dir "$1")/node.yaml"; }
node_dir() { echo "$DATA_DIR/node-$1"; }

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

# shellcheck source=cluster/ask.sh
source "$CLUSTER_DIR/ask.sh"
