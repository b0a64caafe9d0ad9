#!/usr/bin/env bash
# Formats N data directories as one new cluster: a cluster id, a birth id for every node, and a
# configuration file each. Called by up.sh; refuses where a cluster already is.
set -euo pipefail
# shellcheck source=cluster/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
usage 1 "cluster/format.sh N" "$@"
[[ "${1:-}" =~ ^[1-9]$ ]] || die "expected the number of nodes, got '${1:-}'"
[ -z "$(node_ids)" ] || die "$DATA_DIR already holds a cluster"
[[ "$BASE_PORT" =~ ^[0-9]{4,5}$ && "$BASE_PORT" -lt 65400 ]] ||
  die "ASSENT_BASE_PORT must be a port from 1000 to 65399, got '$BASE_PORT'"
http_port_of() { echo $((BASE_PORT + 10 * ($1 - 1))); }
random_id() { node -e 'console.log(require("node:crypto").randomBytes(8).toString("hex"))'; }
cluster_id="$(random_id)"
voters=()
for id in $(seq "$1"); do voters+=("$id=$(random_id)"); done
voters_text="$(IFS=,; echo "${voters[*]}")"
for id in $(seq "$1"); do
  dir="$(node_dir "$id")"
  mkdir --parents "$dir"
  {
    echo "# Node $id of a local cluster, written by cluster/format.sh. Keys: docs/configuration.md"
    echo "HttpPort: $(http_port_of "$id")"
    echo "GrpcPort: $(($(http_port_of "$id") + 1))"
    echo "node: { id: $id, dataDir: \"$dir/data\" }"
    echo "listen: { host: 127.0.0.1, peerPort: $(($(http_port_of "$id") + 2)) }"
    echo "cluster:"
    echo "  peers:"
    for peer in $(seq "$1"); do
      echo "    - { id: $peer, host: 127.0.0.1, port: $(($(http_port_of "$peer") + 2)) }"
    done
  } >"$dir/node.yaml"
  node "$ROOT_DIR/dist/server/main.js" --config "$dir/node.yaml" --format \
    --cluster-id "$cluster_id" --voters "$voters_text" >>"$dir/node.log" 2>&1 ||
    die "formatting node $id failed; see $dir/node.log"
done
echo "formatted a cluster of $1 (id $cluster_id) under $DATA_DIR"
