#!/usr/bin/env bash
# Gives the machines back and takes the request out of the queue; the bucket stays.
#   launch/tpu_vm/delete.sh --project my-project --zone us-east5-a
set -euo pipefail
here=$(dirname "$0")
# shellcheck source=launch/tpu_vm/common.sh
. "$here/common.sh"

parse "$@"
need PROJECT ZONE
call gcloud compute tpus queued-resources delete "$NAME" "${where[@]}" --force && exit
told 'NOT_FOUND|not found|404' || explain
echo "$NAME: nothing to delete"
