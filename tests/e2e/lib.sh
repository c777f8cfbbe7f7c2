# Shared by the whole-program tests. Source it with the program's path in $1: it picks a lab name and an
# API port of its own, and removes the lab at the end, whatever happens.
# shellcheck shell=bash
set -euo pipefail

fairlead=$(readlink -f "$1")
# shellcheck disable=SC2034
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
lab_name=${lab_name:-e2e}
api_port=${api_port:-16443}
lab_dir=/run/fairlead-lab/$lab_name
config=$lab_dir/admin.kubeconfig

skip() {
  if [ "${CI:-}" = true ]; then
    echo "FAIL: $1 (and CI may not skip)" >&2
    exit 1
  fi
  echo "SKIPPED, LOUDLY: $1" >&2
  exit 0
}
[ "$(id -u)" -eq 0 ] || skip "this test builds network namespaces and needs root"
for tool in kubectl dig curl ip; do
  command -v $tool >/dev/null || skip "this test needs $tool"
done

step() { printf '\n== %s\n' "$*"; }
fail() {
  echo "FAIL: $*" >&2
  for log in "$lab_dir"/log/*.log; do
    [ -f "$log" ] && { echo "--- $log" >&2; tail -n 20 "$log" >&2; }
  done
  exit 1
}

up() { "$fairlead" lab up --name "$lab_name" --api-port "$api_port" "$@"; }
down() { "$fairlead" lab --name "$lab_name" down; }
inside() { "$fairlead" lab --name "$lab_name" in "$@"; }
lab() { "$fairlead" lab --name "$lab_name" "$@"; }
k() { kubectl --kubeconfig "$config" "$@"; }
finish() {
  local status=$?
  down >/dev/null 2>&1 || true
  exit $status
}
trap finish EXIT

# eventually SECONDS COMMAND...: until it succeeds.
eventually() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || fail "not within the time: $*"
    sleep 0.05
  done
}

# expect TEXT COMMAND...: the output contains TEXT.
expect() {
  local want=$1 got
  shift
  got=$("$@" 2>&1) || true
  case "$got" in
    *"$want"*) ;;
    *) fail "expected '$want' from: $*
got: $got" ;;
  esac
}

get() { inside client curl -sS --max-time 5 "$@"; }

# Every kubectl on this machine: the one on PATH, and versioned ones beside it.
kubectls() {
  local own
  own=$(readlink -f "$(command -v kubectl)")
  printf '%s\n' "$(command -v kubectl)" "$(dirname "$own")"/kubectl.[0-9]* | while read -r one; do
    [ -x "$one" ] && echo "$one"
  done | sort -u
}
