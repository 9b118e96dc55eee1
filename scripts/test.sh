#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Every test, from nothing: set-up, then scripts/run_tests.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'END'
usage: scripts/test.sh [--slow] [--only STAGE]... [--no-riscv64]

Sets up what is missing (scripts/setup.sh), then runs every test, stage by stage:
  ruff           lint of all Python
  format         its layout
  mypy           types of python/nmpack, strict
  sources        third_party hashes to its pins
  patches        each series is exact, applies and exports unchanged
  pytest         scripts, Python, the delegate in each interpreter
  host           kernels, operators and XNNPACK's own tests on this machine
  asan           kernels and operators with AddressSanitizer and UBSan
  asan-delegate  the delegate with both, in an interpreter without
  riscv64        kernels, operators and XNNPACK's own tests under QEMU, VLEN 128 to 1024
A stage runs even if one before it failed. The end is a table and a line 'N passed, M failed'; the exit
status is 0 only if M is 0. Meson's logs are in build/<stage>/meson-logs.

options:
  --slow         also the tests that take minutes under QEMU, and thousands more drawn models and layers
  --only STAGE   just this stage; repeatable
  --no-riscv64   leave riscv64 out
  -h, --help     show this help
scripts/setup.sh --help lists the environment variables.
END
}

bad() {
  echo "test.sh: expected $1; see --help" >&2
  exit 2
}

stages=$(usage | sed -n '/stage by stage:$/,/^A stage/s/^  \([a-z0-9-]*\) .*/\1/p')
setup=()
only=' '
words=("$@")
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      usage
      exit 0
      ;;
    --slow) ;;
    --no-riscv64) setup+=(--no-riscv64) ;;
    --only)
      shift
      grep -qxF -- "${1:-}" <<<"$stages" || bad "a stage after --only, got ${1:-nothing}"
      only+="$1 "
      ;;
    *) bad "--slow, --only STAGE or --no-riscv64, got $1" ;;
  esac
  shift
done
case $only in ' ' | *' asan'*) setup+=(--sanitize) ;; esac

scripts/setup.sh "${setup[@]}"
exec .venv/bin/python scripts/run_tests.py "${words[@]}"
