#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The main job, from nothing: set-up, then the demo.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'END'
usage: scripts/demo.sh [--output FOLDER] [--data FOLDER]

Sets up what is missing (scripts/setup.sh), then shows the whole path on this machine:
  train a small ResNet on Fashion-MNIST, prune it to 75 % column-wise, fine-tune it with the mask held,
  convert it to TFLite, run it in a stock interpreter with and without the delegate, run a sample on
  riscv64 under QEMU, check that all agree, and time ResNet-50 dense against 50 % and 75 % pruned.
It ends in a table and build/demo/report.json: at most 15 minutes on 2 cores from nothing.

Interrupt it whenever you like: the next run goes on where it stopped. To start over, delete build/demo.

options:
  --output FOLDER   where results go (default: build/demo)
  --quick           every stage in two minutes, with few images; its accuracies and times say nothing
  --data FOLDER     Fashion-MNIST's four .gz files (default: where Debian's dataset-fashion-mnist puts them)
  -h, --help        show this help
scripts/setup.sh --help lists the environment variables.
END
}

for word; do
  case $word in
    -h | --help)
      usage
      exit 0
      ;;
  esac
done

scripts/setup.sh --demo
exec .venv/bin/python -m nmpack.demo "$@"
