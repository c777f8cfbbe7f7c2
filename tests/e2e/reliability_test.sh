#!/usr/bin/env bash
# What users notice of a killed agent, a lost API server, a full map and a change of mode, under load:
# nothing. The full run, with every mode, is bench/reliability/under_load.py.
lab_name=reliability api_port=16448
# shellcheck source=tests/e2e/lib.sh
source "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "this test needs python3"

"$source_dir/bench/reliability/under_load.py" "$fairlead" --api-port "$api_port" \
  --mode ebpf,nftables --case kill,feed,mapfull,switch || fail "a figure is not 0"
echo "ok"
