#!/usr/bin/env bash
# Asks the plan, makes the manifests and hands them to the cluster that kubectl knows.
#   launch/gke/launch.sh configs/movielens.py --topology v5e:4x8 --slices 2 --image IMAGE --bucket my-bucket [--items N] [-- overrides]
# All flags but --items (of the plan) and --dry-run (prints every command and runs none) are those of manifests.py.
# After `kubectl delete jobset NAME` the same command goes on where the run was.
set -euo pipefail
here=$(dirname "$0")

# shellcheck source=launch/plan.sh
. "$here/../plan.sh"

usage() { sed -n '2,5s/^# \{0,1\}//p' "$0"; }
case ${1:-} in
  -h | --help) usage; exit ;;
  '') usage >&2; exit 2 ;;
esac
CONFIG=$1 TOPOLOGY='' SLICES=1 ITEMS='' DRY_RUN='' BUCKET='' OVERRIDES=() flags=()
shift
while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) DRY_RUN=yes; shift ;;
    --spot) flags+=("$1"); shift ;;
    --) shift; OVERRIDES=("$@"); break ;;
    --*)
      [ $# -ge 2 ] || fail 2 "$1 needs a value"
      case $1 in
        --items) ITEMS=$2 ;;
        --topology) TOPOLOGY=$2; flags+=("$1" "$2") ;;
        --slices) SLICES=$2; flags+=("$1" "$2") ;;
        --bucket) BUCKET=${2#gs://}; flags+=("$1" "$2") ;;
        *) flags+=("$1" "$2") ;;
      esac
      shift 2
      ;;
    *) fail 2 "what is $1? Overrides of the config go after --" ;;
  esac
done
[ -n "$TOPOLOGY" ] || fail 2 "--topology is missing, such as --topology v5e:4x8"

look=(gcloud storage buckets describe "gs://$BUCKET" '--format=value(name)')
make=(python "$here/manifests.py" "$CONFIG" "${flags[@]}" -- "${OVERRIDES[@]}")
if [ -n "$DRY_RUN" ]; then
  plan
  quoted "${look[@]}"
  echo "$(quoted "${make[@]}") | kubectl apply -f -"
  exit
fi
command -v gcloud >/dev/null || fail 2 "no gcloud on PATH: install the Google Cloud CLI, then run gcloud auth login"
command -v kubectl >/dev/null || fail 2 "no kubectl on PATH: install it, then run gcloud container clusters get-credentials"
find_rexjax
python -c "import rexjax" 2>/dev/null || fail 2 "python on PATH has no rexjax: activate the environment that has it"
manifests=$("${make[@]}") || exit
plan
"${look[@]}" >/dev/null || fail 2 "no bucket gs://$BUCKET, or none that you may see (above): gcloud storage buckets create gs://$BUCKET $BUCKET_KIND"
said=$(kubectl apply -f - <<<"$manifests" 2>&1) || case $said in
  *'no matches for kind "JobSet"'*) fail 2 "the cluster has no JobSet controller: https://jobset.sigs.k8s.io/docs/installation" ;;
  *[Ff]orbidden*) fail 2 "no permission: ${said##*Error from server }" ;;
  *) fail 1 "kubectl failed: ${said##*$'\n'}" ;;
esac
echo "$said"
