#!/usr/bin/env bash
# Starts the config on all workers at once. It runs on when this terminal is closed; logs.sh follows it.
#   launch/tpu_vm/run.sh --project my-project --zone us-east5-a --config configs/movielens.py -- --teacher.training.epochs 4
set -euo pipefail
here=$(dirname "$0")
# shellcheck source=launch/tpu_vm/common.sh
. "$here/common.sh"

parse "$@"
need PROJECT ZONE CONFIG
command=(bash on_worker.sh start "$(basename "$CONFIG")" --workdir "bucket/runs/$NAME" "${OVERRIDES[@]}")
everywhere "$(quoted "${command[@]}")" ||
  fail 1 "the run could not be started on a worker: its last words are above; setup.sh comes first"
