#!/usr/bin/env bash
# The vendor's libraries that the tests need besides the installed one, each in a folder of its own.
# Usage: fetch_libraries.sh DIR, then run the tests with FASTTRT_TEST_LIBRARIES=DIR.
set -euo pipefail
target=${1:?usage: fetch_libraries.sh DIR}

fetch() {
  python -m pip install --quiet --no-deps --upgrade --target "$target/$1" "$2"
}

mkdir -p "$target"
fetch rtx-1.6 tensorrt-rtx-cu12-libs==1.6.1.120
fetch rtx-1.7 tensorrt-rtx-cu12-libs==1.7.1.116
fetch lean-11 tensorrt-lean-cu12-libs==11.4.0.106
fetch lean-10 tensorrt-lean-cu12-libs==10.16.1.11
