#!/usr/bin/env bash
# Follows the first worker's log until the run ends, through lost connections; its exit code is the run's.
#   launch/tpu_vm/logs.sh --project my-project --zone us-east5-a
set -euo pipefail
here=$(dirname "$0")
# shellcheck source=launch/tpu_vm/common.sh
. "$here/common.sh"

# Each try goes on after the last line that was seen; gcloud's own tries begin again, hence the numbers. A run of days
# loses many connections: only those in a row count.
follow() {
  local attempt=0 before status
  while :; do
    before=$(<"$seen") status=0
    call gcloud compute tpus queued-resources ssh "$NAME" "${where[@]}" --node=0 --worker=0 \
      --command="bash on_worker.sh follow $((before + 1))" | unseen || status=$?
    [ "$status" != 0 ] || return 0
    [ "$status" != 2 ] || fail 2 "nothing has been started on $NAME: run.sh does"
    [ "$before" = "$(<"$seen")" ] || attempt=0
    attempt=$((attempt + 1))
    try_again "$attempt"
  done
}

# Of lines NUMBER:TEXT those that come after the last one seen.
unseen() {
  local line
  while IFS= read -r line; do
    [ -z "$DRY_RUN" ] || { echo "$line"; continue; }
    [ "${line%%:*}" -gt "$(<"$seen")" ] || continue
    echo "${line%%:*}" >"$seen"
    echo "${line#*:}"
  done
}

# One exit code of all workers': first those that starting again would not mend.
verdict() {
  local codes
  codes=$(everywhere "bash on_worker.sh ended") || exit
  [ -z "$DRY_RUN" ] || { echo "$codes"; return; }
  codes=$(sed -n 's/^ended //p' <<<"$codes" | sort -u | paste -sd' ')
  case " $codes " in
    " 0 ") echo "$NAME: done" ;;
    *" 2 "*) fail 2 "the run refused what it was given (above): mend it, then run.sh" ;;
    *" 1 "*) ;;
    *" 75 "*) fail 75 "preempted and saved: run.sh goes on where it was" ;;
    *" killed "*) fail 75 "a worker hung or began anew: setup.sh and run.sh go on from the last checkpoint" ;;
  esac
  [ "$codes" = 0 ] || fail 1 "the run failed on a worker (exit codes: ${codes:-none}): the log above says why"
}

parse "$@"
need PROJECT ZONE
seen=$(mktemp)
trap 'rm -f "$said" "$seen"' EXIT
echo 0 >"$seen"
follow
[ -n "$DRY_RUN" ] || still_there
verdict
