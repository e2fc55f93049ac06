# Sourced by launches that cost money: a dry run, and the plan, which is asked first.
# shellcheck shell=bash

# shellcheck source=launch/shared.sh
. "$(dirname "${BASH_SOURCE[0]}")/shared.sh"

# Of CONFIG on SLICES slices of TOPOLOGY. The plan's own words say what does not fit and where it would.
plan() {
  local status=0 command=(rexjax plan "$CONFIG" --topology "$TOPOLOGY" --slices "$SLICES")
  command+=(${ITEMS:+--items "$ITEMS"} "${OVERRIDES[@]}")
  if [ -n "$DRY_RUN" ]; then quoted "${command[@]}"; return; fi
  find_rexjax
  "${command[@]}" || status=$?
  case $status in
    0) ;;
    1) fail 1 "the plan says no: $CONFIG does not fit on $TOPOLOGY x $SLICES (above); nothing was created" ;;
    *) fail 2 "there is no plan for $TOPOLOGY (above); nothing was created" ;;
  esac
}
