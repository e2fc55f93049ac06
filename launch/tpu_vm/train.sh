#!/usr/bin/env bash
# All of it: create, set up, run, follow; and again, from the last checkpoint, when the machines are taken back.
#   launch/tpu_vm/train.sh --project my-project --zone us-east5-a --topology v5e:4x8 --bucket my-bucket --config configs/movielens.py
set -euo pipefail
here=$(dirname "$0")
# shellcheck source=launch/tpu_vm/common.sh
. "$here/common.sh"

# Machines that live, or are asked for, are used; what is left of others must go before new ones get their name.
machines() {
  local now
  now=$(state) || return
  case $now in
    ACTIVE) ;;
    NONE) "$here/create.sh" -- "${OVERRIDES[@]}" || return ;;
    WAITING_FOR_RESOURCES | ACCEPTED | CREATING | PROVISIONING) REQUESTED=yes "$here/create.sh" || return ;;
    *) "$here/delete.sh" && "$here/create.sh" -- "${OVERRIDES[@]}" || return ;;
  esac
  "$here/setup.sh" # also on machines that live: they may have begun anew, without the bucket
}

once() { machines && "$here/run.sh" -- "${OVERRIDES[@]}" && "$here/logs.sh"; }

parse "$@"
need PROJECT ZONE TOPOLOGY BUCKET CONFIG
if [ -n "$DRY_RUN" ]; then
  for step in create setup run logs; do "$here/$step.sh" -- "${OVERRIDES[@]}"; done
  exit
fi
plan
export PLANNED=yes # create.sh does not ask again
for ((restart = 0; restart <= RESTARTS; restart++)); do
  status=0
  once || status=$?
  [ "$status" = 75 ] || exit "$status"
  [ "$restart" = "$RESTARTS" ] || echo "$NAME: preempted, restart $((restart + 1)) of $RESTARTS"
done
fail 75 "preempted more than $RESTARTS times: the same command goes on where it was"
