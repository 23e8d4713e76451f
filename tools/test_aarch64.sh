#!/usr/bin/env bash
# An aarch64 wheel for Python 3.11 in the emulator qemu-user, with Debian's Python for that machine: the
# C++ tests of the calling convention, `fasttrt doctor`, then tests that include builds with TensorRT-RTX
# for aarch64, which needs no GPU up to the plan.
# Usage: tools/test_aarch64.sh FOLDER [arguments of pytest], FOLDER being that of the wheel.
# Needs qemu-user and doctest-dev (Debian's packages) and tools/requirements.txt.
set -euo pipefail
wheel=$(readlink -f "${1:?usage: tools/test_aarch64.sh FOLDER [arguments of pytest]}"/fasttrt-*-cp311-*_aarch64.whl)
shift
cd "$(dirname "$0")/.."
work=$PWD/build/aarch64-test
root=$PWD/build/aarch64-python3.11
tests=("$@")
if [ $# -eq 0 ]; then
  build=tests/_builder/test_build.py
  tests=(tests/test_import.py tests/_runtime/test_arguments.py tests/_runtime/test_core_dispatcher.py
    tests/_engine/test_exit.py::'test_a_daemon_thread_does_not_abort_the_end[infer]'
    tests/_engine/test_exit.py::'test_a_daemon_thread_does_not_abort_the_end[submit, with callbacks]'
    "$build"::test_{one_profile_in_any_spelling,several_profiles}
    "$build"::test_{a_shape_tensors_range_is_of_values,types_are_those_of_the_model}
    "$build"::test_{all_inputs_and_outputs_are_there,a_timing_cache_is_written_and_read})
fi

mkdir -p "$work/include"
tools/aarch64_python.sh 3.11 "$root"
export QEMU_CPU=cortex-a72 # as the root's /proc/cpuinfo says

echo "aarch64: C++"
ln -sfn /usr/include/doctest "$work/include/doctest"
python -m ziglang c++ -target aarch64-linux-gnu.2.28 -std=c++20 -O1 -I cpp -isystem "$work/include" \
  cpp/common/main_test.cpp cpp/nvinfer/{abi,callbacks}_test.cpp \
  cpp/nvinfer/{dims,logger,profiler,progress,version}.cpp -o "$work/nvinfer_test"
qemu-aarch64 -L "$root" "$work/nvinfer_test"

echo "aarch64: Python"
uv pip install -q --python-platform aarch64-manylinux_2_36 --python-version 3.11 --target "$work/site" \
  --reinstall-package fasttrt "fasttrt[cpu] @ file://$wheel" tensorrt-rtx-cu13-libs==1.6.1.120 pytest pytest-timeout
# Under a name of its own the emulated Python starts other processes in the emulator, too.
python=$root/usr/bin/emulated-python
cat >"$python" <<SCRIPT
#!/bin/sh
export PYTHONPATH="\${PYTHONPATH:+\$PYTHONPATH:}$work/site" PYTHONDONTWRITEBYTECODE=1
exec qemu-aarch64 -L "$root" -0 "\$0" "$root/usr/bin/python3.11" "\$@"
SCRIPT
chmod +x "$python"
"$python" -m fasttrt doctor --json >"$work/doctor.json" || [ $? -eq 1 ] # 1: there is no GPU
"$python" - "$work/doctor.json" <<'CHECK'
import json, platform, sys
report = json.load(open(sys.argv[1]))
print(report["system"], *(library["path"] for library in report["libraries"]), sep="\n")
assert platform.machine() == "aarch64" and report["libraries"][0]["used"], report
CHECK
FASTTRT_REQUIRE_RTX=1 "$python" -m pytest -q -p no:cacheprovider "${tests[@]}"
