# Asked before anything is paid for: sourced by create.sh and train.sh.
# shellcheck shell=bash disable=SC2034  # create.sh uses type and runtime

# The plan's own words say what does not fit and where it would.
plan() {
  local status=0 command=(rexjax plan "$CONFIG" --topology "$TOPOLOGY" --slices "$SLICES")
  command+=(${ITEMS:+--items "$ITEMS"} "${OVERRIDES[@]}")
  if [ -n "$DRY_RUN" ]; then quoted "${command[@]}"; return; fi
  command -v rexjax >/dev/null || fail 2 "no rexjax on PATH: pip install 'rexjax[plan]'"
  "${command[@]}" || status=$?
  case $status in
    0) ;;
    1) fail 1 "the plan says no: $CONFIG does not fit on $TOPOLOGY x $SLICES (above); nothing was created" ;;
    *) fail "$status" "there is no plan for $TOPOLOGY (above); nothing was created" ;;
  esac
}

# The name of a slice and of the software on it; the type counts chips, and cores (two a chip) on v4 and v5p.
# https://cloud.google.com/tpu/docs/v5e, /v5p, /v6e, /runtimes
machine() {
  local generation=${TOPOLOGY%%:*} layout=${TOPOLOGY#*:} chips
  case $layout in # one type stands for one of these layouts and no other
    1x1 | 2x2 | 2x4 | 4x4 | 4x8 | 8x8 | 8x16 | 16x16) ;;
    2x2x1 | 2x2x2 | 2x2x4 | 2x4x4 | 4x4x4 | 4x4x8 | 4x8x8 | 8x8x8 | 8x8x16 | 8x16x16 | 12x16x16 | 16x16x16 | 16x16x24) ;;
    *) fail 2 "no TPU VM of layout $layout: \`rexjax plan\` lists what there is" ;;
  esac
  chips=$((${layout//x/*}))
  case $generation in
    v4) type=(--type=v4 --topology="$layout") runtime=tpu-ubuntu2204-base ;;
    v5e) type=(--accelerator-type="v5litepod-$chips") runtime=v2-alpha-tpuv5-lite ;;
    v5p) type=(--accelerator-type="v5p-$((2 * chips))") runtime=v2-alpha-tpuv5 ;;
    v6e) type=(--accelerator-type="v6e-$chips") runtime=v2-alpha-tpuv6e ;;
    *) fail 2 "no TPU VM of $TOPOLOGY: v4, v5e, v5p and v6e are; tpu7x is on GKE alone (launch/gke)" ;;
  esac
}
