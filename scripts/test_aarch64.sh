#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Builds and runs the tests of the NEON kernels and of the operators on them, under qemu-aarch64: minutes, so nightly.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ $# -gt 0 ]; then
  echo "usage: scripts/test_aarch64.sh   (after scripts/setup.sh; Debian's libstdc++-12-dev-arm64-cross and qemu-user)" >&2
  exit 2
fi
for what in /usr/aarch64-linux-gnu/include/c++/*/vector "$(command -v qemu-aarch64 || echo qemu-aarch64)" .venv/bin/meson; do
  if [ ! -e "$what" ]; then
    echo "test_aarch64.sh: expected $what, found none; run: apt-get install libstdc++-12-dev-arm64-cross qemu-user," \
      "then scripts/setup.sh" >&2
    exit 1
  fi
done
PATH=$PWD/.venv/bin:$PATH
if [ ! -f build/aarch64/build.ninja ]; then
  meson setup build/aarch64 --cross-file scripts/cross/aarch64-linux-clang.ini \
    --native-file scripts/native/clang.ini -Ddelegate=false
fi
ninja -C build/aarch64 kernel-tests
exec meson test -C build/aarch64 --no-rebuild --suite kernels --print-errorlogs
