#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Builds all of it for aarch64 and tests it under qemu-aarch64: the NEON kernels, the operators on them, and models that
# the delegate runs in Debian's TFLite. It takes minutes, so it runs nightly.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ $# -gt 0 ]; then
  echo "usage: scripts/test_aarch64.sh   (after scripts/setup.sh; Debian's libstdc++-12-dev-arm64-cross and qemu-user)" >&2
  exit 2
fi
for what in /usr/aarch64-linux-gnu/include/c++/*/vector "$(command -v qemu-aarch64 || echo qemu-aarch64)" .venv/bin/meson \
  .venv/bin/pytest; do
  if [ ! -e "$what" ]; then
    echo "test_aarch64.sh: expected $what, found none; run: apt-get install libstdc++-12-dev-arm64-cross qemu-user," \
      "then scripts/setup.sh" >&2
    exit 1
  fi
done
PATH=$PWD/.venv/bin:$PATH
scripts/make_sysroot.py --arch arm64
if [ ! -f build/aarch64/build.ninja ]; then
  meson setup build/aarch64 --cross-file scripts/cross/aarch64-linux-clang.ini --native-file scripts/native/clang.ini
else
  meson configure build/aarch64 -Ddelegate=true
fi
ninja -C build/aarch64 -j "${NMPACK_JOBS:-$(nproc)}" delegate/libnmpack_delegate.so delegate/nmpack-run kernel-tests
failed=0
meson test -C build/aarch64 --no-rebuild --suite kernels --print-errorlogs --timeout-multiplier 4 || failed=1
pytest -q -n auto -m aarch64 tests/delegate/test_drawn_emulated.py tests/python/test_aarch64.py || failed=1
exit $failed
