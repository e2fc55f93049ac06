#!/usr/bin/env bash
# Asks the plan, then Google for TPU VMs, and waits until they are there.
#   launch/tpu_vm/create.sh --project my-project --zone us-east5-a --topology v5e:4x8 --bucket my-bucket --config configs/movielens.py
set -euo pipefail
here=$(dirname "$0")
# shellcheck source=launch/tpu_vm/common.sh
. "$here/common.sh"
# shellcheck source=launch/tpu_vm/plan.sh
. "$here/plan.sh"

check_bucket() {
  call gcloud storage buckets describe "gs://$BUCKET" --project="$PROJECT" --format='value(name)' && return
  if told 'not found|404'; then fail 2 "no bucket gs://$BUCKET: gcloud storage buckets create gs://$BUCKET --location=${ZONE%-*}"; fi
  explain
}

request() {
  local nodes=(--node-id="$NAME") tier=()
  [ "$SLICES" = 1 ] || nodes=(--node-count="$SLICES" --node-prefix="$NAME")
  [ "$SPOT" = no ] || tier=(--spot)
  call gcloud compute tpus queued-resources create "$NAME" "${where[@]}" "${nodes[@]}" "${type[@]}" \
    --runtime-version="$runtime" "${tier[@]}" --valid-until-duration="$PATIENCE" --scopes=cloud-platform --quiet || explain
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
request
wait_until_there
