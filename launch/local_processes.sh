#!/usr/bin/env bash
# Runs a config as several processes of several emulated CPU devices each, as hosts of a pod would.
#   launch/local_processes.sh configs/quickstart.py --processes 2 --devices 4 --model 2 [any override of rexjax run]
set -euo pipefail

usage() { sed -n '2,3s/^# \{0,1\}//p' "$0"; }
[ $# -ge 1 ] && [ "$1" != --help ] || { usage; exit 2; }

config=$1 processes=2 devices=4 model=1
shift
overrides=()
while [ $# -gt 0 ]; do
  case $1 in
    --processes) processes=$2; shift 2 ;;
    --devices) devices=$2; shift 2 ;;
    --model) model=$2; shift 2 ;;
    --dry-run) dry_run=1; shift ;;
    *) overrides+=("$1"); shift ;;
  esac
done

port=${REXJAX_PORT:-$((20000 + RANDOM % 10000))}
command=(rexjax run "$config" --mesh.model "$model" "${overrides[@]}")
environment=(JAX_PLATFORMS=cpu "XLA_FLAGS=--xla_force_host_platform_device_count=$devices"
  "REXJAX_COORDINATOR=127.0.0.1:$port" "REXJAX_PROCESSES=$processes")

started=()
trap '[ ${#started[@]} = 0 ] || kill "${started[@]}" 2>/dev/null || true' EXIT
for ((i = processes - 1; i >= 0; i--)); do
  echo "${environment[*]} REXJAX_PROCESS_ID=$i ${command[*]}"
  [ -z "${dry_run:-}" ] || continue
  env "${environment[@]}" REXJAX_PROCESS_ID=$i "${command[@]}" &
  started+=($!)
done
for process in "${started[@]}"; do wait "$process"; done
