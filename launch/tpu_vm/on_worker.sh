#!/usr/bin/env bash
# What happens on each worker; setup.sh brings it there.
#   on_worker.sh setup BUCKET WHEEL | start CONFIG [overrides] | follow FIRST_LINE | ended
set -euo pipefail
cd ~
log=rexjax.log pid=rexjax.pid code=rexjax.code

# The images have Python 3.10: uv brings the one on which all of the tests run.
setup() {
  ! running || { echo "a run is going on here: nothing was installed"; return; }
  [ -x .local/bin/uv ] || python3 -m pip install -q --user uv
  [ -x rexjax/bin/python ] || .local/bin/uv venv -q --python 3.11 rexjax
  .local/bin/uv pip install -q --python rexjax/bin/python "$2[all]" "jax[tpu]"
  mount_bucket "$1"
}

# All workers read and write one workdir as a folder. https://cloud.google.com/storage/docs/cloud-storage-fuse/install
mount_bucket() {
  mountpoint -q bucket && return
  if ! command -v gcsfuse >/dev/null; then
    echo "deb [signed-by=/usr/share/keyrings/gcsfuse.asc] https://packages.cloud.google.com/apt gcsfuse-$(lsb_release -cs) main" |
      sudo tee /etc/apt/sources.list.d/gcsfuse.list >/dev/null
    curl -fsS https://packages.cloud.google.com/apt/doc/apt-key.gpg | sudo tee /usr/share/keyrings/gcsfuse.asc >/dev/null
    sudo apt-get update -qq && sudo apt-get install -y -qq gcsfuse
  fi
  mkdir -p bucket
  gcsfuse --implicit-dirs --metadata-cache-ttl-secs=0 "$1" bucket # what other workers publish is seen at once
}

running() { [ -f "$pid" ] && kill -0 "$(cat "$pid")" 2>/dev/null; }

# In a session of its own, so that a closed connection does not end it. gcloud may ask twice when one was lost.
start() {
  ! running || { echo "a run is going on here already: it was left alone"; return; }
  rm -f "$code"
  : >"$log"
  # shellcheck disable=SC2016
  setsid nohup bash -c 'rexjax/bin/rexjax run "$@"; echo $? >rexjax.code' run "$@" >>"$log" 2>&1 </dev/null &
  echo $! >"$pid"
}

# follow FIRST: lines NUMBER:TEXT from the first one wanted, until the run ends.
follow() {
  [ -f "$pid" ] || exit 2
  tail -s 0.2 --pid="$(cat "$pid")" -n +1 -F "$log" 2>/dev/null | { grep -n --line-buffered '' || true; } | sed -u -n "$1,\$p"
}

# Workers end within moments of each other; one that has not after five minutes hangs, and would be in the next run's way.
ended() {
  for _ in $(seq 300); do
    running || break
    sleep 1
  done
  ! running || kill -KILL -- "-$(cat "$pid")"
  if [ -f "$code" ]; then echo "ended $(cat "$code")"; else echo "ended killed"; fi
}

"$@"
