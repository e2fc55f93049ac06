#!/usr/bin/env bash
# Asks the plan, then Google for TPU VMs, and waits until they are there.
#   launch/tpu_vm/create.sh --project my-project --zone us-east5-a --topology v5e:4x8 --bucket my-bucket --config configs/movielens.py
set -euo pipefail
here=$(dirname "$0")
# shellcheck source=launch/tpu_vm/common.sh
. "$here/common.sh"

# The name of a slice and of the software on it; the type counts chips, and cores (two a chip) on v4 and v5p.
# https://cloud.google.com/tpu/docs/v5e, /v5p, /v6e, /runtimes
machine() {
  local generation=${TOPOLOGY%%:*} layout=${TOPOLOGY#*:} chips
  case $layout in # one type stands for one of these layouts and no other
    1x1 | 2x2 | 2x4 | 4x4 | 4x8 | 8x8 | 8x16 | 16x16) ;;
    2x2x1 | 2x2x2 | 2x2x4 | 2x4x4 | 4x4x4 | 4x4x8 | 4x8x8 | 8x8x8 | 8x8x16 | 8x16x16 | 12x16x16 | 16x16x16 | 16x16x24) ;;
    *) fail 2 "no TPU VM of layout $layout: \`rexjax plan\` lists what there is" ;;
  esac
  chips=$((${layout//x/*}))
  case $generation in
    v4) type=(--type=v4 --topology="$layout") runtime=tpu-ubuntu2204-base ;;
    v5e) type=(--accelerator-type="v5litepod-$chips") runtime=v2-alpha-tpuv5-lite ;;
    v5p) type=(--accelerator-type="v5p-$((2 * chips))") runtime=v2-alpha-tpuv5 ;;
    v6e) type=(--accelerator-type="v6e-$chips") runtime=v2-alpha-tpuv6e ;;
    *) fail 2 "no TPU VM of $TOPOLOGY: v4, v5e, v5p and v6e are; tpu7x is on GKE alone (launch/gke)" ;;
  esac
}

check_bucket() {
  call gcloud storage buckets describe "gs://$BUCKET" --project="$PROJECT" --format='value(name)' && return
  if told 'not found|404'; then fail 2 "no bucket gs://$BUCKET: gcloud storage buckets create gs://$BUCKET --location=${ZONE%-*} $BUCKET_KIND"; fi
  explain
}

request() {
  local nodes=(--node-id="$NAME") tier=()
  [ "$SLICES" = 1 ] || nodes=(--node-count="$SLICES" --node-prefix="$NAME")
  [ "$SPOT" = no ] || tier=(--spot)
  call gcloud compute tpus queued-resources create "$NAME" "${where[@]}" "${nodes[@]}" "${type[@]}" \
    --runtime-version="$runtime" "${tier[@]}" --valid-until-duration="$PATIENCE" --scopes=cloud-platform || explain
}

why_refused() {
  call gcloud compute tpus queued-resources describe "$NAME" "${where[@]}" --format='value(state.failedData.error.message)'
}

wait_until_there() {
  local now
  while :; do
    now=$(state) || exit
    [ -z "$DRY_RUN" ] || { echo "$now"; return; }
    echo "$NAME: $now"
    case $now in
      ACTIVE) return ;;
      FAILED) refused "$(why_refused)" ;;
      SUSPENDING | SUSPENDED) fail 75 "preempted: the machines of $NAME were taken back before the run began" ;;
      NONE | DELETING) fail 1 "$NAME was deleted while it waited in the queue" ;;
    esac
    sleep "$POLL"
  done
}

parse "$@"
need PROJECT ZONE TOPOLOGY BUCKET CONFIG
[ -n "$DRY_RUN" ] || [ -f "$CONFIG" ] || fail 2 "no config file $CONFIG"
machine
[ -n "${PLANNED:-}" ] || plan
check_bucket
[ -n "${REQUESTED:-}" ] || request
wait_until_there
