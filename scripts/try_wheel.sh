#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What someone does who has a wheel and nothing else: install it in a new environment, then use it.
set -euo pipefail

usage() {
  cat <<'END'
usage: scripts/try_wheel.sh [--python PYTHON] [--with EXTRAS] [--model FILE.tflite] WHEEL

Makes a virtual environment in a temporary folder, installs the wheel there, and tries:
  1. nmpack --version --verbose, and how long 'import nmpack' takes (the median of five)
  2. with --with interpreter: run, inspect, profile and bench of a model
  3. with --with interpreter,torch: prune and convert before, of a network that the package brings
Then it looks which files were written outside of the environment: none may be, but in the user's cache.

  --python PYTHON   the Python to use (default: python3)
  --with EXTRAS     extras to install with it, separated by commas (default: none)
  --model FILE      the model to run where torch is not installed
END
}

python=python3 extras='' model='' wheel=''
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      usage
      exit 0
      ;;
    --python | --with | --model)
      [ $# -gt 1 ] || { echo "try_wheel.sh: expected a value after $1, got none" >&2; exit 2; }
      case $1 in
        --python) python=$2 ;;
        --with) extras=$2 ;;
        --model) model=$(realpath "$2") ;;
      esac
      shift
      ;;
    -*)
      echo "try_wheel.sh: expected --python, --with or --model, got $1; see --help" >&2
      exit 2
      ;;
    *) wheel=$(realpath "$1") ;;
  esac
  shift
done
if [ ! -f "$wheel" ]; then
  echo "try_wheel.sh: expected a wheel, got ${wheel:-nothing}; see --help" >&2
  exit 2
fi

case ,$extras, in
  *,torch,*) ;;
  *,interpreter,*)
    if [ ! -f "$model" ]; then
      echo "try_wheel.sh: expected --model FILE.tflite where torch is not installed, got ${model:-none}" >&2
      exit 2
    fi
    ;;
esac

here=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/home" "$folder/work" "$folder/tmp"
export HOME=$folder/home XDG_CACHE_HOME=$folder/home/.cache TMPDIR=$folder/tmp
unset PYTHONPATH NMPACK_DELEGATE NMPACK_MEASURE NMPACK_TFLITE_LIBRARY

say() {
  printf '\n$ %s\n' "$*"
  "$@"
}

cd "$folder/work"
"$python" -m venv "$folder/env"
PATH=$folder/env/bin:$PATH
case ,$extras, in
  *,torch,*)
    # PyPI's own build carries several GB for other processors than this. A mirror may hold PyTorch's.
    torch=$(sed -n 's/^torch==//p' "$here/requirements/main.lock")
    python -m pip install -q "torch==$torch+cpu" ||
      python -m pip install -q --retries 1 --index-url https://download.pytorch.org/whl/cpu "torch==$torch" ||
      echo "try_wheel.sh: no torch $torch for the processor alone: PyPI's follows, which is large"
    ;;
esac
say python -m pip --disable-pip-version-check install -q "$wheel${extras:+[$extras]}"
say python -m pip --disable-pip-version-check list
say nmpack --version --verbose
say nmpack-run --help | head -n 4
echo
for _ in 1 2 3 4 5; do
  python -c 'import time; t = time.perf_counter(); import nmpack; print(round(1000 * (time.perf_counter() - t)))'
done | sort -n | awk 'NR == 3 { print "import nmpack: " $1 " ms, the median of 5" }'

case ,$extras, in
  *,interpreter,*)
    case ,$extras, in
      *,torch,*)
        say nmpack prune resnet18 --sparsity 0.75 --tile 32 -o pruned.pt
        say nmpack convert pruned.pt -o pruned.tflite
        model=pruned.tflite
        ;;
    esac
    say nmpack run "$model" --compare
    say nmpack inspect "$model"
    say nmpack profile "$model"
    say nmpack bench "$model" --rounds 3 --repeat 1
    ;;
esac

# pip asks rustc for its version, which makes its settings.
written=$(cd "$folder" && find home work tmp -type f ! -path 'home/.cache/*' ! -path 'home/.rustup/*' ! -name 'pruned.*')
if [ -n "$written" ]; then
  echo "try_wheel.sh: expected files in the environment and the cache alone, found $written" >&2
  exit 1
fi
echo
echo "nothing was written outside of the environment and the cache"
