#!/usr/bin/env bash
# Encodes item texts with several workers; on many hosts that share the workdir, run it with --fill-only on all but one.
#   launch/data/encode_workers.sh configs/quickstart.py --workers 4 [--fill-only] [any override of rexjax encode]
set -euo pipefail
# shellcheck source=launch/shared.sh
. "$(dirname "$0")/../shared.sh"

usage() { sed -n '2,3s/^# \{0,1\}//p' "$0"; }
[ $# -ge 1 ] && [ "$1" != --help ] || { usage; exit 2; }

config=$1 workers=2 fill_only='' dry_run=''
shift
overrides=()
while [ $# -gt 0 ]; do
  case $1 in
    --workers) number "$@"; workers=$2; shift 2 ;;
    --fill-only) fill_only=1; shift ;;
    --dry-run) dry_run=1; shift ;;
    *) overrides+=("$1"); shift ;;
  esac
done
[ -n "$dry_run" ] || find_rexjax

say_and_run() {
  echo "$*"
  [ -n "$dry_run" ] || "$@"
}

started=()
trap '[ ${#started[@]} = 0 ] || kill "${started[@]}" 2>/dev/null || true' EXIT
for ((i = 0; i < workers; i++)); do
  say_and_run rexjax encode "$config" --worker "${overrides[@]}" &
  started+=($!)
done
# A worker that dies leaves its shards to the others; the last command makes what none of them has made.
for worker in "${started[@]}"; do wait "$worker" || echo "a worker ended with exit code $?" >&2; done
started=()
[ -n "$fill_only" ] || say_and_run rexjax encode "$config" "${overrides[@]}"
