#!/usr/bin/env bash
# Formats N data directories as one new cluster: a cluster id, a birth id for every node, and a
# configuration file each. Called by up.sh; refuses where a cluster already is.
set -euo pipefail
# shellcheck source=cluster/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
usage 1 "[ASSENT_BASE_PORT=36789] cluster/format.sh 1|3|5" "$@"
require_size "${1:-}"
require_base_port
[ -z "$(node_ids)" ] || die "$DATA_DIR already holds a cluster"
http_port_of() { echo $((BASE_PORT + 10 * ($1 - 1))); }
random_id() { node -e 'console.log(require("node:crypto").randomBytes(8).toString("hex"))'; }
cluster_id="$(random_id)"
# What is formatted in part is no cluster, and nothing has run on it yet.
give_up() {
  local made
  for made in $(seq "$size"); do rm --recursive --force "$(node_dir "$made")"; done
  die "$*"
}
size="$1"
voters=()
for id in $(seq "$size"); do voters+=("$id=$(random_id)"); done
voters_text="$(IFS=,; echo "${voters[*]}")"
for id in $(seq "$size"); do
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
    for peer in $(seq "$size"); do
      echo "    - { id: $peer, host: 127.0.0.1, port: $(($(http_port_of "$peer") + 2)) }"
    done
  } >"$dir/node.yaml"
  node "$ROOT_DIR/dist/server/main.js" --config "$dir/node.yaml" --format \
    --cluster-id "$cluster_id" --voters "$voters_text" >>"$dir/node.log" 2>&1 ||
    give_up "formatting node $id failed: $(node "$CLUSTER_DIR/last-words.mjs" <"$dir/node.log")"
done
echo "formatted a cluster of $size (id $cluster_id) under $DATA_DIR"
