#!/usr/bin/env bash
# Follows the first worker's log until the run ends, through lost connections; its exit code is the run's.
#   launch/tpu_vm/logs.sh --project my-project --zone us-east5-a
set -euo pipefail
here=$(dirname "$0")
# shellcheck source=launch/tpu_vm/common.sh
. "$here/common.sh"

# Each try goes on after the last line that was seen; gcloud's own tries begin again, hence the numbers.
follow() {
  local attempt status
  for attempt in 1 2 3 4 5; do
    status=0
    call gcloud compute tpus queued-resources ssh "$NAME" "${where[@]}" --node=0 --worker=0 \
      --command="bash on_worker.sh follow $(($(<"$seen") + 1))" | unseen || status=$?
    [ "$status" != 0 ] || return 0
    [ "$status" != 2 ] || fail 2 "nothing has been started on $NAME: run.sh does"
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

# One exit code of all workers': the user's mistake first, for starting again does not help it.
verdict() {
  local codes
  codes=$(everywhere "bash on_worker.sh ended") || exit
  [ -z "$DRY_RUN" ] || { echo "$codes"; return; }
  codes=$(sed -n 's/^ended //p' <<<"$codes" | sort -u | paste -sd' ')
  case " $codes " in
    " 0 ") echo "$NAME: done" ;;
    *" 2 "*) fail 2 "the run refused what it was given (above): mend it, then run.sh" ;;
    *" 75 "*) fail 75 "preempted and saved: run.sh goes on where it was" ;;
    *) fail 1 "the run failed on a worker (exit codes: ${codes:-none}): the log above says why" ;;
  esac
}

parse "$@"
need PROJECT ZONE
seen=$(mktemp)
trap 'rm -f "$said" "$seen"' EXIT
echo 0 >"$seen"
follow
[ -n "$DRY_RUN" ] || still_there
verdict
