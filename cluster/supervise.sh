#!/usr/bin/env bash
# Runs one node in the foreground and starts it again, with back-off, when it asks for it (exit 75:
# out of space, or a replica to be rebuilt). Any other end is final. Used by start.sh.
set -uo pipefail
# shellcheck source=cluster/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
usage 2 "cluster/supervise.sh N DATA_DIR" "$@"
require_node "${1:-}"
dir="$(node_dir "$1")"
rm --force "$dir/node.exit"
echo $$ >"$dir/supervisor.pid"

backoff=1
while true; do
  started=$SECONDS
  node --enable-source-maps "$ROOT_DIR/dist/server/main.js" --config "$dir/node.yaml" \
    >>"$dir/node.log" 2>&1 &
  echo $! >"$dir/node.pid"
  wait $!
  code=$?
  rm --force "$dir/node.pid"
  [ "$code" -eq 75 ] || break
  [ $((SECONDS - started)) -gt 60 ] && backoff=1
  echo "{\"level\":\"warn\",\"msg\":\"exit 75, restarting\",\"delaySeconds\":$backoff}" >>"$dir/node.log"
  sleep "$backoff"
  backoff=$((backoff * 2 > 30 ? 30 : backoff * 2))
done
# Left for start.sh, which may look only after the end.
echo "$code" >"$dir/node.exit"
rm --force "$dir/supervisor.pid"
exit "$code"
