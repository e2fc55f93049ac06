# Sourced by the scripts here: sentences for what was typed wrong, and where rexjax is.
# shellcheck shell=bash

# Of new buckets: folders that can be renamed as a whole, as Orbax and TFDS do within a workdir.
# shellcheck disable=SC2034
BUCKET_KIND="--enable-hierarchical-namespace --uniform-bucket-level-access"

# fail CODE SENTENCE
fail() {
  echo "$(basename "$0"): $2" >&2
  exit "$1"
}

# quoted WORD...: as a shell reads them back.
quoted() {
  local word line=
  for word; do
    [[ $word =~ ^[a-zA-Z0-9@%+=:,./_-]+$ ]] || word="'${word//\'/\'\\\'\'}'"
    line+="${line:+ }$word"
  done
  printf '%s\n' "$line"
}

# number FLAG VALUE...: "$@" of a flag that wants a number from 1.
number() {
  [ $# -ge 2 ] || fail 2 "$1 needs a number"
  [[ $2 =~ ^[1-9][0-9]*$ ]] || fail 2 "$1 is a number from 1, not $2"
}

# rexjax is the one on PATH, else that of .venv beside this folder.
find_rexjax() {
  local own
  own=$(dirname "${BASH_SOURCE[0]}")/../.venv/bin
  command -v rexjax >/dev/null || [ ! -x "$own/rexjax" ] || PATH=$(cd "$own" && pwd):$PATH
  command -v rexjax >/dev/null || fail 2 "no rexjax on PATH: pip install 'rexjax[all,plan]', or activate the environment that has it"
}
