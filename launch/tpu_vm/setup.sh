#!/usr/bin/env bash
# Copies the wheel and the config to all workers, installs there, and mounts the bucket. Again is harmless.
#   launch/tpu_vm/setup.sh --project my-project --zone us-east5-a --bucket my-bucket --config configs/movielens.py
set -euo pipefail
here=$(dirname "$0")
# shellcheck source=launch/tpu_vm/common.sh
. "$here/common.sh"

newest_wheel() {
  local found
  found=$(find dist -name 'rexjax-*.whl' -printf '%T@ %p\n' 2>/dev/null | sort -n | tail -1 | cut -d' ' -f2)
  [ -n "$found" ] || fail 2 "no wheel in dist/: build one (python -m build --wheel), or pass --wheel"
  echo "$found"
}

parse "$@"
need PROJECT ZONE BUCKET CONFIG
[ -n "$WHEEL" ] || WHEEL=$(newest_wheel)
for file in "$CONFIG" "$WHEEL"; do
  [ -n "$DRY_RUN" ] || [ -f "$file" ] || fail 2 "no file $file"
done
connected gcloud compute tpus queued-resources scp "$WHEEL" "$CONFIG" "$here/on_worker.sh" "$NAME:" "${where[@]}" \
  --node=all --worker=all
everywhere "$(quoted bash on_worker.sh setup "$BUCKET" "$(basename "$WHEEL")")" ||
  fail 1 "the setup failed on a worker: its last words are above"
