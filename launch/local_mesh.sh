#!/usr/bin/env bash
# Runs a config on a mesh of emulated CPU devices, as CI does: what works here has its shardings right.
#   launch/local_mesh.sh configs/quickstart.py --devices 8 --model 2 [any override of rexjax run]
set -euo pipefail
# shellcheck source=launch/shared.sh
. "$(dirname "$0")/shared.sh"

usage() { sed -n '2,3s/^# \{0,1\}//p' "$0"; }
[ $# -ge 1 ] && [ "$1" != --help ] || { usage; exit 2; }

config=$1 devices=8 model=1
shift
overrides=()
while [ $# -gt 0 ]; do
  case $1 in
    --devices) number "$@"; devices=$2; shift 2 ;;
    --model) number "$@"; model=$2; shift 2 ;;
    --dry-run) dry_run=1; shift ;;
    *) overrides+=("$1"); shift ;;
  esac
done

command=(rexjax run "$config" --mesh.model "$model" "${overrides[@]}")
environment=(JAX_PLATFORMS=cpu "XLA_FLAGS=--xla_force_host_platform_device_count=$devices")
echo "${environment[*]} ${command[*]}"
[ -n "${dry_run:-}" ] || { find_rexjax; env "${environment[@]}" "${command[@]}"; }
