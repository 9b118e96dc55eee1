#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The main job, from nothing: set-up and the demo, by turns, so that a speed-up is there first.
set -euo pipefail

usage() {
  cat <<'END'
usage: scripts/demo.sh [--quick] [--output FOLDER] [--data FOLDER]

Sets up what is missing (scripts/setup.sh), and shows the whole path on this machine:
  time ResNet-50 dense against 50 % and 75 % pruned, as soon as the delegate is built; then train a small
  ResNet on Fashion-MNIST, prune it to 75 % column-wise, fine-tune it with the mask held, convert it to
  TFLite, run it in a stock interpreter with and without the delegate, run a sample on riscv64 under QEMU,
  and check that all agree.
It ends in a table and build/demo/report.json: at most 13 minutes on 2 cores from nothing. It says at the
start how long each stage will take, and then how much is left.

Interrupt it whenever you like: the next run goes on where it stopped. To start over, delete build/demo.

options:
  --output FOLDER   where results go (default: build/demo)
  --quick           every stage in two minutes, with few images; its accuracies and times say nothing
  --data FOLDER     Fashion-MNIST's four .gz files (default: where Debian's dataset-fashion-mnist puts them)
  -h, --help        show this help
scripts/setup.sh --help lists the environment variables.
END
}

bad() {
  echo "demo.sh: expected $1; see --help" >&2
  exit 2
}

words=()
plan=(--plan)
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      usage
      exit 0
      ;;
    --quick)
      words+=("$1")
      plan=()
      ;;
    --output | --data)
      case ${2:-} in '' | -*) bad "a folder after $1, got ${2:-nothing}" ;; esac
      # Relative to where it was typed.
      folder=$2
      [[ $folder = /* ]] || folder=$PWD/$folder
      if [ ! -d "$folder" ] && { [ "$1" = --data ] || [ -e "$folder" ]; }; then
        bad "a folder after $1, got $2"
      fi
      words+=("$1" "$folder")
      shift
      ;;
    *) bad "--quick, --output FOLDER or --data FOLDER, got $1" ;;
  esac
  shift
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ ${#plan[@]} -gt 0 ]; then
  echo "On two cores with AVX2 this takes, from nothing; what an earlier run has done takes no time:"
  awk '!/^#/ { all += $2; seconds = $2; $1 = $2 = ""; printf "  %4d s %s\n", seconds, $0 }
       END { printf "  %4d s, %.0f minutes, in all\n", all, all / 60 }' scripts/demo_plan.txt
fi
scripts/setup.sh --first "${plan[@]}"
.venv/bin/python -m nmpack.demo --first "${words[@]}"
scripts/setup.sh --demo "${plan[@]}"
exec .venv/bin/python -m nmpack.demo "${words[@]}"
