#!/usr/bin/env bash
# Runs a config as several processes of several emulated CPU devices each, as hosts of a pod would.
#   launch/local_cluster.sh configs/quickstart.py --processes 2 --devices 4 --model 2 [any override of rexjax run]
# SIGTERM and SIGINT go on to all processes as SIGTERM. The exit code is 75 (start it again) if any process says so, else
# the first that is not 0. A process that dies ends the others; none is left behind.
set -euo pipefail
# shellcheck source=launch/shared.sh
. "$(dirname "$0")/shared.sh"

usage() { sed -n '2,5s/^# \{0,1\}//p' "$0"; }
[ $# -ge 1 ] && [ "$1" != --help ] || { usage; exit 2; }

config=$1 processes=2 devices=4 model=1
shift
overrides=()
while [ $# -gt 0 ]; do
  case $1 in
    --processes) number "$@"; processes=$2; shift 2 ;;
    --devices) number "$@"; devices=$2; shift 2 ;;
    --model) number "$@"; model=$2; shift 2 ;;
    --dry-run) dry_run=1; shift ;;
    *) overrides+=("$1"); shift ;;
  esac
done
[ -n "${dry_run:-}" ] || find_rexjax

port=${REXJAX_PORT:-$((20000 + RANDOM % 10000))}
command=(rexjax run "$config" --mesh.model "$model" "${overrides[@]}")
environment=(JAX_PLATFORMS=cpu "XLA_FLAGS=--xla_force_host_platform_device_count=$devices"
  "REXJAX_COORDINATOR=127.0.0.1:$port" "REXJAX_PROCESSES=$processes")

silence=${REXJAX_PEER_SECONDS:-60} grace=${REXJAX_GRACE_SECONDS:-15}
running=() code=0 deadline=
send() { [ ${#running[@]} = 0 ] || kill "-$1" "${running[@]}" 2>/dev/null || true; }
trap 'send KILL' EXIT
trap 'send TERM' TERM INT

# A process that ends with an error leaves the others time to say so themselves: they notice within REXJAX_PEER_SECONDS
# one that was killed, and at once one that could still tell them. Then REXJAX_GRACE_SECONDS (15), and they are killed.
note() {
  [ "$code" = 75 ] || [ "$1" = 0 ] || { [ "$code" != 0 ] && [ "$1" != 75 ]; } || code=$1
  [ "$1" = 0 ] || [ -n "$deadline" ] || deadline=$((SECONDS + ($1 > 128 ? ${silence%.*} : 0) + grace))
}

for ((i = processes - 1; i >= 0; i--)); do
  echo "${environment[*]} REXJAX_PROCESS_ID=$i ${command[*]}"
  [ -z "${dry_run:-}" ] || continue
  env "${environment[@]}" REXJAX_PROCESS_ID=$i "${command[@]}" &
  running+=($!)
done
while [ ${#running[@]} -gt 0 ]; do
  left=()
  for process in "${running[@]}"; do
    if kill -0 "$process" 2>/dev/null; then
      left+=("$process")
    else
      status=0
      wait "$process" || status=$?
      note "$status"
    fi
  done
  running=("${left[@]}")
  [ -z "$deadline" ] || [ $SECONDS -lt "$deadline" ] || send KILL
  [ ${#running[@]} = 0 ] || sleep 0.2
done
exit "$code"
