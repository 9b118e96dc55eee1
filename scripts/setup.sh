#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Sets everything up: demo.sh and test.sh call it. It is bash alone because nothing else is there yet.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'END'
usage: scripts/setup.sh [--first | --demo | --wheels] [--plan] [--peers] [--sanitize] [--no-riscv64]

Makes all that nmpack needs, in this order:
  1. system packages       scripts/packages.txt, through apt as root or with a sudo that asks nothing;
                           otherwise it prints the one line to run
  2. Python packages       .venv from requirements/main.lock
  3. tflite-runtime        .venv-tflite-runtime from requirements/tflite-runtime.lock
  4. sources               third_party/<name>, by scripts/fetch_sources.py
  5. patched trees         third_party/patched, by scripts/apply_patches.py
  6. riscv64 sysroot       the user's cache, by scripts/make_sysroot.py. Not for the demo, also: the same for this
                           machine, the LLVM that models RISC-V cores, the ssh server that tests start, and the
                           emulator of half precision in vectors
  7. host build            build/host
  8. riscv64 build         build/riscv64
  9. microcontrollers      .venv-mcu from requirements/mcu.lock, and simulators of a core's RTL in the user's
                           cache, by scripts/setup_mcu.py; not for the demo

A second run does only what has changed and takes seconds. Interrupt it whenever you like and run it
again. What each step printed is kept in build/logs.

options:
  --first        only what runs a model on this machine: an interpreter in .venv, and the delegate in build/host
  --demo         only what the demo needs: no tests, no TensorFlow, no tflite-runtime. Once the delegate for this
                 machine is built, Python packages are installed beside steps 6 and 8
  --wheels       only what builds wheels: .venv-wheels from requirements/wheels.lock, the sources, and the old C library
                 that wheels are linked with; scripts/build_wheels.py does the rest
  --plan         with --first or --demo: say how long each step takes, and how much of scripts/demo.sh follows
  --peers        also install the runtimes that nmpack bench --peers measures beside ours: .venv-peers from
                 requirements/peers.lock, 1.2 GB
  --sanitize     also build the kernels' tests and the delegate with AddressSanitizer and UBSan, in build/asan
  --no-riscv64   leave steps 6 and 8 out
  -h, --help     show this help

environment:
  NMPACK_PYTHON     the Python 3.11 to use (default: python3.11, or python3 where that is 3.11)
  NMPACK_NO_APT=1   never install a system package, only say which are missing
  NMPACK_JOBS       compile jobs (default: as many as processors)
  XDG_CACHE_HOME    downloads and the sysroot go to its nmpack/ (default: ~/.cache)
END
}

python_version=3.11
part=all
plan=false
peers=false
sanitize=false
riscv64=true
for word; do
  case $word in
    --first | --demo | --wheels) part=${word#--} ;;
    --plan) plan=true ;;
    --peers) peers=true ;;
    --sanitize) sanitize=true ;;
    --no-riscv64) riscv64=false ;;
    -h | --help)
      usage
      exit 0
      ;;
    *)
      echo "setup.sh: expected --first, --demo, --wheels, --plan, --peers, --sanitize or --no-riscv64, got $word; see --help" >&2
      exit 2
      ;;
  esac
done

die() {
  echo "setup.sh: $*" >&2
  exit 1
}

on_signal() {
  trap - INT TERM
  echo >&2
  echo "setup.sh: interrupted; run it again to continue" >&2
  exit 130
}
trap on_signal INT TERM

step=0
steps=8
[ "$part" != all ] || steps=9
[ "$part" != first ] || steps=5 riscv64=false
[ "$part" != wheels ] || steps=5 riscv64=false
$riscv64 || [ "$part" = first ] || [ "$part" = wheels ] || steps=$((steps - 2))
! $peers || steps=$((steps + 1))
! $sanitize || steps=$((steps + 1))

# begin TITLE [STAGE]: says which step this is. With --plan also how long that takes, by scripts/demo_plan.txt; the demo
# calls --first before --demo, which then does those five steps again in no time.
begin() {
  local took=''
  step=$((step + 1))
  if $plan && [ -n "${2:-}" ] && { [ "$part" = first ] || { [ "$part" = demo ] && [ "$step" -gt 5 ]; }; }; then
    took=$(awk -v stage="$2" '
      $1 == stage { here = $2 }
      here { left += $2 }
      function said(n) { return n < 90 ? n " s" : sprintf("%.0f min", n / 60) }
      END { print ": about " said(here) ", " said(left) " to the end of the demo" }' scripts/demo_plan.txt)
  fi
  echo "[$step/$steps] $1$took"
}

# Copies a command's output to a log and shows its latest line: in place on a terminal, now and then elsewhere.
show_progress() {
  local log=$1 line='' last=starting status next=$((SECONDS + 10)) start=$SECONDS width=${COLUMNS:-100}
  while :; do
    status=0
    IFS= read -r -t 5 line || status=$?
    if [ "$status" -eq 0 ]; then
      printf '%s\n' "$line" >>"$log"
      last=${line:-$last}
    elif [ "$status" -le 128 ]; then
      break # the end; above 128 nothing was said for five seconds
    fi
    if [ -t 1 ]; then
      printf '\r\033[K      %4d s  %s' $((SECONDS - start)) "${last:0:$((width - 16))}"
    elif [ "$SECONDS" -ge "$next" ]; then
      printf '      %4d s  %s\n' $((SECONDS - start)) "${last:0:150}"
      next=$((SECONDS + 10))
    fi
  done
  [ ! -t 1 ] || printf '\r\033[K'
}

# logged NAME SENTENCE COMMAND...: SENTENCE says what it means when the command fails.
logged() {
  local log=build/logs/$1.log sentence=$2
  shift 2
  mkdir -p build/logs
  printf '$ %s\n' "$*" >"$log"
  if ! "$@" </dev/null 2>&1 | show_progress "$log"; then
    tail -n 15 "$log" | sed 's/^/      | /' >&2
    die "$sentence; all it printed is in $log"
  fi
}

# ---------------------------------------------------------------------------------------------------------------------

find_python() {
  local name
  for name in "${NMPACK_PYTHON:-python$python_version}" python3; do
    if "$name" -c "import ensurepip, sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '$python_version')" \
      >/dev/null 2>&1; then
      command -v "$name"
      return
    fi
    [ -z "${NMPACK_PYTHON:-}" ] || return 1
  done
  return 1
}

present() {
  case $1 in
    PYTHON) find_python >/dev/null ;;
    /*) compgen -G "$1" >/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

# Sets missing (packages) and absent (what was looked for) from scripts/packages.txt.
look_for_packages() {
  local package probe needed
  missing=()
  absent=()
  while read -r package probe needed; do
    case $package in '' | '#'*) continue ;; esac
    [ "$needed" != tests ] || [ "$part" = all ] || continue
    if ! present "$probe"; then
      missing+=("$package")
      absent+=("${probe/#PYTHON/Python $python_version with venv}")
    fi
  done <scripts/packages.txt
}

joined() {
  local text
  text=$(printf ', %s' "$@")
  echo "${text:2}"
}

install_packages() {
  look_for_packages
  [ ${#missing[@]} -gt 0 ] || return 0
  local as_root=() line="apt-get install -y --no-install-recommends ${missing[*]}"
  if [ -n "${NMPACK_PYTHON:-}" ] && ! find_python >/dev/null; then
    die "expected NMPACK_PYTHON to name a Python $python_version with venv, got $NMPACK_PYTHON: $(
      "$NMPACK_PYTHON" --version 2>&1 | tail -n 1 || true)"
  fi
  if ! command -v apt-get >/dev/null; then
    die "expected $(joined "${absent[@]}"), found none, nor apt-get to install them;" \
      "install what Debian calls ${missing[*]}"
  fi
  if [ "${NMPACK_NO_APT:-}" = 1 ]; then
    die "expected $(joined "${absent[@]}"), found none; run: $line"
  elif [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then
      die "expected $(joined "${absent[@]}"), found none; run: sudo $line"
    fi
    as_root=(sudo -n)
  fi
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
  echo "      installing ${missing[*]}"
  logged apt-update "apt-get update failed" "${apt[@]}" update
  if [[ " ${missing[*]} " == *" python$python_version-venv "* ]] &&
    ! apt-cache show "python$python_version-venv" >/dev/null 2>&1; then
    die "expected Python $python_version, which the lock files are for, found $(python3 --version 2>&1 || true), and this" \
      "distribution has no other; install one and name it with NMPACK_PYTHON=/path/to/python$python_version"
  fi
  logged apt-install "apt could not install what is missing ($(joined "${absent[@]}"))" \
    "${apt[@]}" install -y --no-install-recommends "${missing[@]}"
  local wanted=("${missing[@]}")
  look_for_packages
  if [ ${#missing[@]} -gt 0 ]; then
    die "expected $(joined "${absent[@]}") after installing ${wanted[*]}, found none;" \
      "is there another release's package, or is PATH incomplete ($PATH)?"
  fi
}

# ---------------------------------------------------------------------------------------------------------------------

# It asks nothing: who would answer? Modules are compiled when they are first imported: most of these never are.
pip_install=(-m pip --disable-pip-version-check --no-input install --progress-bar off --no-compile)

# pip ENVIRONMENT NAME SENTENCE WORD...
pip() {
  local environment=$1 name=$2 sentence=$3
  shift 3
  logged "$name" "$sentence" "$environment/bin/python" "${pip_install[@]}" "$@"
}

# PyPI's torch carries several GB of CUDA. A CPU build satisfies the same pin: from what pip is set up for, else PyTorch's own index.
# install_torch ENVIRONMENT LOCK
install_torch() {
  local pin installed quiet=("$1/bin/python" "${pip_install[@]}" -q --no-deps)
  pin=$(grep -E '^torch==' "$2")
  installed=$("$1/bin/python" -c 'import importlib.metadata as m; print(m.version("torch"))' 2>/dev/null || true)
  [ "torch==${installed%%+*}" != "$pin" ] || return 0
  echo "      $pin, a build for CPUs"
  if ! "${quiet[@]}" "$pin+cpu" </dev/null >build/logs/torch.log 2>&1 &&
    ! "${quiet[@]}" --retries 1 --timeout 20 --index-url https://download.pytorch.org/whl/cpu "$pin+cpu" \
      </dev/null >>build/logs/torch.log 2>&1; then
    echo "      found none (build/logs/torch.log); taking the default build of several GB"
  fi
}

# make_environment FOLDER LOCK FINISH STAMP...: a virtual environment as FINISH fills it from LOCK. Each STAMP names
# a file that says it has been: FINISH's own, and those of what installs more.
make_environment() {
  local folder=$1 lock=$2 finish=$3 stamp python key
  shift 3
  python=$(find_python) || die "expected Python $python_version, found none; name one with NMPACK_PYTHON=/path/to/python$python_version"
  # An environment knows the path it was made at and the Python it was made from.
  key=$({
    sed -n '/^[^#]/p' "$lock"
    cat pyproject.toml
    echo "$PWD" "$("$python" -c 'import sys; print(sys.base_prefix, sys.version)')"
  } | sha256sum)
  for stamp; do
    if [ "$(cat "$folder/$stamp" 2>/dev/null)" = "$key" ] && "$folder/bin/python" -c '' 2>/dev/null; then
      return 0
    fi
  done
  rm -f "$folder/$1"
  # What is installed is about to change: no other key holds any longer.
  for stamp in "$folder"/nmpack-*.sha256; do
    [ "$(cat "$stamp" 2>/dev/null)" = "$key" ] || rm -f "$stamp"
  done
  if [ -e "$folder/bin/python" ] && ! "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
    rm -rf "$folder"
  fi
  logged "${folder#.}" "Python could not make $folder" "$python" -m venv "$folder"
  $finish "$folder" "$lock"
  echo "$key" >"$folder/$1"
}

finish_main() {
  install_torch "$1" "$2"
  pip "$1" pip-main "pip could not install $2" -r "$2"
  pip "$1" pip-nmpack "pip could not install nmpack from this folder" --no-deps --no-build-isolation -e .
}

# What builds the delegate and runs a model in it.
finish_first() {
  pip "$1" pip-tools "pip could not install the build tools of $2" -c "$2" meson ninja setuptools
  install_extras "$1" "$2" interpreter,terminal
}

finish_demo() {
  install_torch "$1" "$2"
  install_extras "$1" "$2" interpreter,terminal,torch,train
}

# install_extras FOLDER LOCK EXTRAS: nmpack from this folder, and what its EXTRAS need at the versions of LOCK.
install_extras() {
  pip "$1" "pip-${3##*,}" "pip could not install nmpack[$3] from this folder" -c "$2" --no-build-isolation -e ".[$3]"
}

finish_tflite_runtime() {
  pip "$1" pip-tflite-runtime "pip could not install $2" -r "$2"
}

finish_wheels() {
  pip "$1" pip-wheels "pip could not install $2" -r "$2"
}

finish_peers() {
  install_torch "$1" "$2"
  pip "$1" pip-peers "pip could not install $2" -r "$2"
}

# ---------------------------------------------------------------------------------------------------------------------

# build FOLDER OPTIONS TARGET...: configures with Meson when OPTIONS or Meson changed, then builds.
build() {
  local folder=$1 options=$2 stamp=$1/nmpack-options.txt key name=build-${1##*/}
  shift 2
  key="$PWD $(.venv/bin/meson --version) $options"
  # shellcheck disable=SC2086 # options are words
  if [ ! -f "$folder/build.ninja" ]; then
    rm -rf "$folder"
    logged "$name" "meson could not configure $folder" .venv/bin/meson setup "$folder" $options
    echo "$key" >"$stamp"
  elif [ "$(cat "$stamp" 2>/dev/null)" != "$key" ]; then
    rm -f "$stamp" # an interruption leaves neither the old options nor the new
    logged "$name" "meson could not configure $folder again; if in doubt, delete that folder" \
      .venv/bin/meson setup --reconfigure "$folder" $options
    echo "$key" >"$stamp"
  fi
  logged "$name" "$folder does not build" .venv/bin/ninja -C "$folder" -j "${NMPACK_JOBS:-$(nproc)}" "$@"
}

# ---------------------------------------------------------------------------------------------------------------------

# start_beside COMMAND...: runs it in the background, in a process group of its own; join_beside waits for it.
beside=''
start_beside() {
  set -m
  "$@" </dev/null >build/logs/beside.log 2>&1 &
  beside=$!
  set +m
}

join_beside() {
  tail -n +1 -f --pid="$beside" build/logs/beside.log
  wait "$beside" || exit 1
  beside=''
}

end_beside() {
  [ -z "$beside" ] || kill -- "-$beside" 2>/dev/null || true
}
trap end_beside EXIT

make_sysroot() {
  begin "riscv64 sysroot" sysroot
  python3 scripts/make_sysroot.py
}

make_sshd() {
  python3 scripts/make_sysroot.py sshd
  # Root's hands those who have not logged in yet to a user of that name.
  if [ "$(id -u)" -eq 0 ] && ! getent passwd sshd >/dev/null; then
    useradd --system --gid nogroup --home-dir /run/sshd --shell /usr/sbin/nologin sshd
  fi
}

# .venv, with less and less in it.
make_main() { make_environment .venv requirements/main.lock finish_main nmpack-lock.sha256; }
make_demo() { make_environment .venv requirements/main.lock finish_demo nmpack-{demo,lock}.sha256; }
make_first() { make_environment .venv requirements/main.lock finish_first nmpack-{first,demo,lock}.sha256; }

main() {
  local delegate=delegate/libnmpack_delegate.so host=() targets=()
  if [ "$(uname -sm)" != "Linux x86_64" ]; then
    die "expected Linux on x86-64, which builds for itself, riscv64 and aarch64, got $(uname -sm)"
  fi
  if [ "$part" != all ]; then
    host=("$delegate")
    targets=("$delegate" delegate/nmpack-run)
  fi

  begin "system packages" packages
  install_packages
  mkdir -p build/logs
  exec 9>build/setup.lock
  if ! flock -n 9; then
    echo "      waiting for another setup.sh in this folder"
    flock 9
  fi
  if [ "$part" = all ]; then
    begin "Python packages (.venv)"
    make_main
    begin "tflite-runtime (.venv-tflite-runtime)"
    make_environment .venv-tflite-runtime requirements/tflite-runtime.lock finish_tflite_runtime nmpack-lock.sha256
  elif [ "$part" = wheels ]; then
    begin "what builds wheels (.venv-wheels)"
    make_environment .venv-wheels requirements/wheels.lock finish_wheels nmpack-lock.sha256
    PATH=$PWD/.venv-wheels/bin:$PATH
  else
    begin "Python tools and an interpreter (.venv)" tools
    make_first
  fi
  if $peers; then
    begin "other runtimes (.venv-peers)"
    make_environment .venv-peers requirements/peers.lock finish_peers nmpack-lock.sha256
  fi
  # Meson and the scripts take the python3 and ninja of the environment.
  PATH=$PWD/.venv/bin:$PATH
  begin "sources (third_party)" sources
  python3 scripts/fetch_sources.py
  begin "patched trees (third_party/patched)" patches
  python3 scripts/apply_patches.py
  if [ "$part" = all ]; then
    # What tests drive libtensorflow-lite's C interface with on this machine.
    python3 scripts/make_sysroot.py --arch amd64
  fi
  if [ "$part" = all ] && $riscv64; then
    make_sysroot
    python3 scripts/make_sysroot.py llvm
    python3 scripts/make_sysroot.py qemu
    make_sshd
  fi
  if [ "$part" = wheels ]; then
    begin "old C libraries"
    python3 scripts/make_sysroot.py glibc
    python3 scripts/make_sysroot.py glibc --arch arm64
    echo "set up in $SECONDS s"
    return
  fi
  begin "host build (build/host)" build-host
  build build/host "--native-file scripts/native/clang.ini" "${host[@]}"
  if [ "$part" = demo ]; then
    start_beside make_demo
    ! $riscv64 || make_sysroot
  fi
  if $riscv64; then
    begin "riscv64 build (build/riscv64)" build-riscv64
    build build/riscv64 \
      "--cross-file scripts/cross/riscv64-linux-clang.ini --native-file scripts/native/clang.ini" "${targets[@]}"
  fi
  if [ "$part" = demo ]; then
    begin "Python packages to train with (.venv)" training
    join_beside
  fi
  if [ "$part" = all ]; then
    begin "microcontrollers (.venv-mcu)"
    logged mcu "scripts/setup_mcu.py failed" python3 scripts/setup_mcu.py
  fi
  if $sanitize; then
    begin "sanitizer build (build/asan)"
    build build/asan "--native-file scripts/native/clang.ini -Ddelegate=true -Db_sanitize=address,undefined -Db_lundef=false" \
      delegate/libnmpack_delegate.so kernel-tests
  fi
  echo "set up in $SECONDS s"
}

main
