#!/usr/bin/env bash
# One night: refreshes the champion of a registry with the new events of its log, in a workdir named by the day.
#
#   launch/refresh.sh CONFIG REGISTRY RUNS [FLAG ...]
#
# A cron line:  15 3 * * *  cd /srv/shop && launch/refresh.sh config.py registry runs >>refresh.log 2>&1
# A night that is killed goes on with the next call of the same day.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: $0 CONFIG REGISTRY RUNS [FLAG ...]" >&2; exit 2; }
config=$1 registry=$2 runs=$3
shift 3
exec rexjax refresh "$config" --registry "$registry" --workdir "$runs/$(date -u +%F)" "$@"
