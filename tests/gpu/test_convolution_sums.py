"""Sums of convolutions are right in every run, with TF32, with CUDA graphs and without."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.convolution_sums import FORMS
from support.gpu import report, run_child

pytestmark = pytest.mark.gpu

# In a process of its own: TensorRT-RTX keeps the setting of TF32, which the other tests turn off.
_CODE = """
import json, os, sys

os.environ.pop("NVIDIA_TF32_OVERRIDE", None)

import numpy as np

import fasttrt
from support.convolution_sums import FORMS, SIZES
from support.exact_forms import run

found = {}
name, kept = sys.argv[1:]
(form,) = (form for form in FORMS if form.name == name)
for size in SIZES:
    proto = form.proto(*size, captured=kept != "never")
    samples = [form.feeds(*size, seed=seed) for seed in (0, 1)]
    expected = [run(proto, feeds)[0] for feeds in samples]
    options = {"cuda_graph": False} if kept == "used once" else {}
    with fasttrt.Engine(
        proto, device="cuda", precision="tf32", cache=False, warmup=False, **options
    ) as engine:
        errors = []
        for place in [0] * 6 + [1] * 3 + [0] * 3:
            y = engine.infer(samples[place])["y"]
            errors.append(float(np.abs(y - expected[place]).max() / np.abs(expected[place]).max()))
    found["x".join(map(str, size))] = errors
print(json.dumps(found))
"""


@pytest.mark.timeout(180)
@pytest.mark.parametrize("graphs", ["kept", "used once", "never"])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_run_is_right(form: Any, graphs: str) -> None:
    child = run_child(_CODE, form.name, graphs)
    assert child.returncode == 0, child.stderr
    found = json.loads(child.stdout.splitlines()[-1])
    report(
        "convolution_sums",
        form=form.name,
        graphs=graphs,
        **{size: max(e) for size, e in found.items()},
    )
    for size, errors in found.items():
        assert max(errors) < 3e-3, f"{size}: {errors}"  # TF32 rounds to 3e-4; wrong ones exceed 0.1
