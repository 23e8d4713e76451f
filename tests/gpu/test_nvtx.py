"""Ranges that a profiler sees."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import fasttrt
from support.gpu import EXACT, normal
from support.models import mlp
from support.process import python_output

pytestmark = pytest.mark.gpu
TOOL = Path(__file__).parents[2] / "cpp" / "common" / "nvtx_fake.cpp"


@pytest.mark.skipif(not TOOL.is_file(), reason="the sources are not here")
def test_a_profiler_sees_the_parts_of_a_run_by_the_engines_name(tmp_path: Path) -> None:
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("there is no C++ compiler (c++)")
    tool = tmp_path / "tool.so"
    options = ("-std=c++20", "-shared", "-fPIC")
    subprocess.run([compiler, *options, str(TOOL), "-o", str(tool)], check=True)
    plan = tmp_path / "classifier.plan"
    fasttrt.build(mlp((16, 8)).proto, EXACT, shapes={"x": (4, 16)}, device="cuda").save(plan)
    np.save(tmp_path / "x.npy", normal(4, 16))
    code = """
        import sys
        import numpy as np
        import fasttrt
        with fasttrt.Engine(sys.argv[1], device="cuda") as engine:
            for _ in range(3):
                engine.infer(np.load(sys.argv[2]))
    """
    lines = tmp_path / "lines"
    python_output(
        code, plan, tmp_path / "x.npy",
        NVTX_INJECTION64_PATH=str(tool), FASTTRT_TEST_NVTX_FILE=str(lines),
    )  # fmt: skip
    parts = ["staging", "enqueue", "wait", "copy-out"]
    expected = [
        line for part in parts for line in (f"push fasttrt classifier: {part}", "pop fasttrt")
    ]
    assert lines.read_text().splitlines() == 3 * expected
