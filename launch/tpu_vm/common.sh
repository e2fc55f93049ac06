# What the scripts beside this one share: their flags, a dry run, and what is said when gcloud says no.
# shellcheck shell=bash disable=SC2034,SC2154  # those that source it say where it is, and use the rest
set -euo pipefail
# shellcheck source=launch/plan.sh
. "$here/../plan.sh"

export CLOUDSDK_CORE_DISABLE_PROMPTS=1 # a question of gcloud's would not be seen
SETTINGS="project zone name topology slices items bucket config wheel spot patience restarts poll"
PROJECT=${PROJECT:-} ZONE=${ZONE:-} NAME=${NAME:-rexjax} TOPOLOGY=${TOPOLOGY:-} SLICES=${SLICES:-1} ITEMS=${ITEMS:-}
BUCKET=${BUCKET:-} CONFIG=${CONFIG:-} WHEEL=${WHEEL:-} SPOT=${SPOT:-yes} PATIENCE=${PATIENCE:-6h}
RESTARTS=${RESTARTS:-20} POLL=${POLL:-30} DRY_RUN=${DRY_RUN:-} OVERRIDES=()
said=$(mktemp)
trap 'rm -f "$said"' EXIT

usage() {
  sed -n '2,/^set/{s/^# \{0,1\}//p}' "$0"
  cat <<'FLAGS'

  --project PROJECT    Google Cloud project
  --zone ZONE          such as us-east5-a
  --name NAME          of the queued resource and of the run's folder in the bucket (rexjax)
  --topology TOPOLOGY  of one slice, as `rexjax plan` writes it: v5e:4x8
  --slices SLICES      equal slices that work as one (1)
  --items ITEMS        size of the catalogue, for the plan, where neither the config nor its workdir says it
  --bucket BUCKET      without gs://; artifacts go to BUCKET/runs/NAME, and a run goes on from there
  --config CONFIG      Python file with get_config()
  --wheel WHEEL        of rexjax (the newest in dist/)
  --spot yes|no        machines that may be taken back, at a lower price (yes)
  --patience DURATION  how long to stay in the queue (6h)
  --restarts RESTARTS  how often a run is started again, at most (20)
  --poll SECONDS       between two looks (30)
  --dry-run            prints every command and runs none
  -- ...               overrides of the config, for the plan and for the run
Each flag can also be set in the environment: PROJECT, ZONE, ...
Exit codes: 0 done, 1 the answer is no, 2 your mistake, 75 preempted and saved: start it again.
FLAGS
}

parse() {
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) usage; exit 0 ;;
      --dry-run) DRY_RUN=yes; shift ;;
      --) shift; OVERRIDES=("$@"); break ;;
      --*)
        [[ " $SETTINGS " == *" ${1#--} "* ]] || fail 2 "no flag $1; see --help"
        [ $# -ge 2 ] || fail 2 "$1 needs a value; see --help"
        name=${1#--}
        printf -v "${name^^}" %s "$2"
        shift 2
        ;;
      *) fail 2 "what is $1? Overrides of the config go after --; see --help" ;;
    esac
  done
  export PROJECT ZONE NAME TOPOLOGY SLICES ITEMS BUCKET CONFIG WHEEL SPOT PATIENCE RESTARTS POLL DRY_RUN
  check
}

check() {
  for name in SLICES RESTARTS POLL; do
    [[ ${!name} =~ ^[0-9]+$ ]] || fail 2 "--${name,,} ${!name} is not a whole number"
  done
  [ "$SLICES" -ge 1 ] || fail 2 "--slices $SLICES: there is at least one"
  [[ $SPOT =~ ^(yes|no)$ ]] || fail 2 "--spot $SPOT must be yes or no"
  [[ $NAME =~ ^[a-z][-a-z0-9]{0,47}$ ]] || fail 2 "--name $NAME must be small letters, digits and -, a letter first"
  BUCKET=${BUCKET#gs://}
}

# need VARIABLE...: those without which the script can do nothing.
need() {
  for name; do
    [ -n "${!name}" ] || fail 2 "--${name,,} is missing: pass it or set $name; see --help"
  done
  [ -n "$DRY_RUN" ] || command -v gcloud >/dev/null ||
    fail 2 "no gcloud on PATH: install the Google Cloud CLI, then run gcloud auth login"
  where=(--project="$PROJECT" --zone="$ZONE")
}

# call COMMAND...: runs it, or prints it in a dry run. What it complains about is kept for `explain`.
call() {
  [ -z "$DRY_RUN" ] || { quoted "$@"; return; }
  "$@" 2>"$said"
}

# What gcloud said, as one sentence and an exit code. Its words differ from release to release: parts are looked for.
explain() {
  local words permission
  words=$(last_words)
  permission=$(grep -oE '\b(tpu|compute|storage|iam|serviceusage)\.[a-zA-Z]+\.[a-zA-Z]+\b' "$said" | grep -v googleapis | head -1) || true
  if told 'active account|reauthenticat|auth login'; then fail 2 "gcloud has no account: run gcloud auth login"; fi
  if told 'SERVICE_DISABLED|has not been used in project'; then
    fail 2 "the Cloud TPU API is off in $PROJECT: run gcloud services enable tpu.googleapis.com --project=$PROJECT"
  fi
  if told 'permission|forbidden|does not have .* access'; then
    fail 2 "no permission: your account lacks ${permission:-something ($words)} in $PROJECT; ask its owner for a role that has it"
  fi
  if told quota; then fail 1 "the quota of $PROJECT does not allow it: $words"; fi
  if told 'no more capacity|RESOURCE_EXHAUSTED|stockout|enough (resources|capacity)'; then refused "$words"; fi
  if told 'ALREADY_EXISTS|already exists'; then
    fail 2 "$NAME exists already in $ZONE: delete.sh removes it, or choose another --name"
  fi
  fail 1 "gcloud failed: ${words:-it did not say why}"
}

told() { grep -qiE "$1" "$said"; }

last_words() { { grep -v '^ *$' "$said" || true; } | tail -1 | sed 's/^ERROR: ([a-z.-]*) *//'; }

refused() { fail 1 "capacity refused: $ZONE has no $TOPOLOGY now (${1:-no reason given}); try another --zone or --topology"; }

# The state of the queued resource; NONE if there is none.
state() {
  call gcloud compute tpus queued-resources describe "$NAME" "${where[@]}" --format='value(state.state)' && return
  told 'NOT_FOUND|not found|404' || explain
  echo NONE
}

# Ends the script if there are no machines to talk to any more.
still_there() {
  local now
  now=$(state) || exit
  case $now in
    SUSPENDING | SUSPENDED) fail 75 "preempted: the machines of $NAME were taken back; train.sh makes new ones and goes on" ;;
    NONE) fail 2 "there is no $NAME in $ZONE: create.sh makes it" ;;
  esac
}

# lost STATUS: gcloud goes on without a slice that does not answer, and calls that success.
lost() {
  [ "$1" = 255 ] || told 'could not prepare all' ||
    { [ "$1" != 0 ] && told 'return code \[255\]|connection (closed|reset|refused|timed out)'; }
}

# try_again ATTEMPT: waits, or gives up after the fifth.
try_again() {
  local words
  words=$(last_words) # the look at the state may say something itself
  still_there
  [ "$1" -lt 5 ] || fail 1 "ssh lost ($words): $NAME cannot be reached; what runs there goes on, logs.sh looks again"
  echo "$(basename "$0"): ssh lost, try $1 of 5" >&2
  sleep "$POLL"
}

# connected COMMAND...: gcloud's ssh or scp; a lost connection is tried again. Its code is that of the command over there.
connected() {
  local attempt status
  for attempt in 1 2 3 4 5; do
    status=0
    call "$@" || status=$?
    lost "$status" || break
    try_again "$attempt"
  done
  [ "$status" != 0 ] || return 0
  if told '^ERROR: \(gcloud'; then explain; fi
  cat "$said" >&2
  return "$status"
}

# everywhere COMMAND: on all workers of all slices.
everywhere() {
  connected gcloud compute tpus queued-resources ssh "$NAME" "${where[@]}" --node=all --worker=all --command="$1"
}
