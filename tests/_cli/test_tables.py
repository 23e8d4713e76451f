"""The tables of all commands in a terminal of 80 columns, in narrow ones, and in a pipe."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from fasttrt import cache
from fasttrt._accuracy.comparison import Comparison
from fasttrt._accuracy.metrics import OutputComparison
from fasttrt._bench import layer_profile as layers
from fasttrt._bench import sweeps
from fasttrt._bench.measurement import LATENCY, TERMS, WALL, Case
from fasttrt._bench.statistics import Stats
from fasttrt._cli import cache as cache_command
from fasttrt._cli import run as run_command
from fasttrt._quantization.report import OutputLoss, QuantizationReport
from support import models

LONG = "encoder/layer.11/attention/output/LayerNorm/Add_1_output_0"
Lines = Callable[["int | None"], Sequence[str]]


def bench(width: int | None) -> Sequence[str]:
    terms = (LATENCY, *TERMS.values(), WALL)
    times = {
        term: Stats(99, *(float(17.25 * 3**i + 0.5 * k) for k in range(7)))
        for i, term in enumerate(terms)
    }
    slow = {WALL: Stats(99, *(123456.7 + k for k in range(7)))}
    fast = Case("models/m.onnx", "cuda:0", "fp16", 8, 2, 1, 17428.3, 37363.0, times, "yes", "auto")
    reference = Case(
        f"models/{LONG}", "cpu", "as stated", None, 2, 16, None, 8.1, slow, "none", "auto"
    )
    return sweeps.table([fast, reference], width)


def output(name: str, **changes: Any) -> OutputComparison:
    values: dict[str, Any] = {
        "name": name, "dtype": "float32", "reference_dtype": "float32", "shape": (8, 10),
        "reference_shape": (8, 10), "max_abs_error": 0.000876123, "max_rel_error": 1234567.0,
        "mean_abs_error": 0.000217, "rms": 1.0, "cosine": 0.9999999, "top1": 1.0, "equal": None,
        "nan": 0, "reference_nan": 0, "inf": 0, "reference_inf": 0, "nonfinite_mismatches": 0,
        "out_of_tolerance": 0,
        "elements": 80, "limit": "", "input_sensitive": True, "reasons": (),
    }  # fmt: skip
    return OutputComparison(**values | changes)


def compare(width: int | None) -> Sequence[str]:
    wrong = output(LONG, dtype="float16", nan=12, reasons=("12 are NaN on one side only",))
    found = Comparison(
        (output("logits"), wrong), 4, {}, 873921624, "cuda:0 (rtx 1.6.1)", "ONNX Runtime", "tf32"
    )
    return found.lines(width)


def profile(width: int | None) -> Sequence[str]:
    first = layers.Layer(f"[HostToDeviceCopy] {LONG} + Relu_1", (LONG, "Relu_1"), (0.2871, 0.2875))
    return layers.table([first, layers.Layer("Reformat", (), (0.0017, 0.0018))], width=width)


def quantize(width: int | None) -> Sequence[str]:
    loss = OutputLoss(LONG, 80, 0.0123, 0.00123, 0.0123, 0.00123, 0.999912, 0.975, 0, 0)
    report = QuantizationReport(
        "percentile 99.99", 80, 20, True, (17, 17), ("Gemm_0",), (), (loss,), "rtx 1.6.1"
    )
    return report.lines(width)


def run(width: int | None) -> Sequence[str]:
    first = [-0.0297593123, 0.00210555, 1.33162, -123456.789]
    described = {
        "name": LONG, "dtype": "float32", "shape": [1, 3, 224, 224], "min": -123456.789,
        "mean": 0.0192244, "max": 1e30, "nan": 3, "first": first,
    }  # fmt: skip
    mask = {"name": "mask", "dtype": "bool", "shape": [], "true": 1}
    found = {"samples": ["0.npz", "photograph.npz"], "results": [[described], [mask]]}
    return run_command._table(found, width)


def cached(width: int | None) -> Sequence[str]:
    gpu = {"name": "NVIDIA H100 80GB HBM3"}
    library = {"family": "rtx", "version": "1.6.1"}
    entries = [
        cache.Entry(
            "0123456789abcdef" * 4, Path("x"), size, datetime.now(timezone.utc) - age,
            {"model_name": name, "gpu": gpu, "cache": {"library": library}},
        )
        for name, size, age in (
            ("m.onnx", 360_000, timedelta(minutes=3)), (LONG, 123_456_789, timedelta(days=400)),
        )
    ]  # fmt: skip
    return cache_command._table(entries, width)


def passing(width: int | None) -> Sequence[str]:
    found = Comparison(
        (output("logits", max_rel_error=0.251),), 4, {}, None, "cuda:0 (rtx 1.6.1)", LONG, "fp32"
    )
    return found.lines(width)


TABLES: dict[str, Lines] = {
    "bench": bench, "compare": compare, "compare, passed": passing, "profile": profile,
    "quantize": quantize, "run": run, "cache list": cached,
}  # fmt: skip

GOLDEN = {
    "bench": """\
times in us             min     max    mean  median    90 %    95 %    99 %
-------------------  ------  ------  ------  ------  ------  ------  ------
models/m.onnx, fp16, batch 8, contexts 2, concurrency 1
  Throughput 17428.3 qps, infer() 37363.0 calls/s; transfers yes, CUDA graph
yes, wait auto
  Latency              17.2    17.8    18.2    18.8    19.2    19.8    20.2
  H2D Latency          51.8    52.2    52.8    53.2    53.8    54.2    54.8
  GPU Compute Time    155.2   155.8   156.2   156.8   157.2   157.8   158.2
  D2H Latency         465.8   466.2   466.8   467.2   467.8   468.2   468.8
  Enqueue Time       1397.2  1397.8  1398.2  1398.8  1399.2  1399.8  1400.2
  infer() wall time  4191.8  4192.2  4192.8  4193.2  4193.8  4194.2  4194.8
models/encoder/layer.11/attention/output/LayerNorm/Add_1_output_0, as stated,
contexts 2, concurrency 16
  infer() 8.1 calls/s; transfers yes, CUDA graph none, wait auto
  infer() wall time  123457  123458  123459  123460  123461  123462  123463
ONNX Runtime ran these on the CPU: precision and contexts have no effect there,
and only infer() wall time is measured
""",
    "compare": """\
logits
  dtype float32  shape 8x10  max abs 0.000876  max rel 1.23e+06
  mean abs 0.000217  cosine 0.9999999  top-1 100 %  NaN 0  verdict passed
encoder/layer.11/attention/output/LayerNorm/Add_1_output_0
  dtype float16 (not float32)  shape 8x10  max abs 0.000876  max rel 1.23e+06
  mean abs 0.000217  cosine 0.9999999  top-1 100 %  NaN 12 (not 0)
  verdict FAILED
cuda:0 (rtx 1.6.1) against ONNX Runtime, 4 samples, seed 873921624, limits for
tf32
encoder/layer.11/attention/output/LayerNorm/Add_1_output_0: 12 are NaN on one
side only
""",
    "compare, passed": """\
output  dtype    shape   max abs  max rel  mean abs     cosine  top-1  verdict
------  -------  -----  --------  -------  --------  ---------  -----  -------
logits  float32  8x10   0.000876    0.251  0.000217  0.9999999  100 %  passed
cuda:0 (rtx 1.6.1) against
encoder/layer.11/attention/output/LayerNorm/Add_1_output_0, 4 samples, given
inputs, limits for fp32
""",
    "profile": """\
 share  median ms  layer                          ONNX nodes
------  ---------  -----------------------------  -----------------------------
99.4 %     0.2873  [HostToDeviceCopy]             encoder/layer.11/attention/
                   encoder/layer.11/attention/    output/LayerNorm/Add_1_
                   output/LayerNorm/Add_1_        output_0, Relu_1
                   output_0 + Relu_1
 0.6 %     0.0017  Reformat                       -
2 of 2 layers, medians add up to 0.2890 ms
""",
    "quantize": """\
int8: 1 nodes quantized, 0 excluded; opset 17
ranges: percentile 99.99 over 80 samples; loss: over 20 (held out)
parser: rtx 1.6.1
output                max abs  mean abs  peak rel  rms rel    cosine  top-1  NaN
--------------------  -------  --------  --------  -------  --------  -----  ---
encoder/layer.11/      0.0123   0.00123    0.0123  0.00123  0.999912  97.5%    0
attention/output/
LayerNorm/Add_1_
output_0
""",
    "run": """\
0.npz
  output encoder/layer.11/attention/output/LayerNorm/Add_1_output_0
  dtype float32  shape 1x3x224x224  min -123457  mean 0.0192244  max 1e+30
  true -  NaN 3
  first values: -0.0297593, 0.00210555, 1.33162, -123457
photograph.npz
  output mask  dtype bool  shape scalar  min -  mean -  max -  true 1  NaN -
""",
    "cache list": """\
key           model             library    GPU                   size       used
------------  ----------------  ---------  ----------------  --------  ---------
0123456789ab  m.onnx            rtx 1.6.1  NVIDIA H100       360.0 kB  3 min ago
                                           80GB HBM3
0123456789ab  encoder/layer.    rtx 1.6.1  NVIDIA H100       123.5 MB  400 d ago
              11/attention/                80GB HBM3
              output/LayerNorm
              /Add_1_output_0
""",
}


def figures(lines: Sequence[str]) -> list[str]:
    return [word for line in lines for word in re.findall(r"(?<!\S)[-+]?[\d.]+[\d%](?!\S)", line)]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_no_figure_or_name_is_cut(table: str, width: int) -> None:
    whole, lines = TABLES[table](None), TABLES[table](width)
    assert not Counter(figures(whole)) - Counter(figures(lines))
    assert "\N{HORIZONTAL ELLIPSIS}" not in "".join([*whole, *lines])
    assert width < 40 or max(map(len, lines)) <= width


@pytest.mark.parametrize("table", TABLES)
def test_at_80_columns(table: str) -> None:
    assert "\n".join(TABLES[table](80)) + "\n" == GOLDEN[table]


@pytest.mark.parametrize("table", TABLES)
def test_in_a_pipe_names_are_whole(table: str) -> None:
    assert any(LONG in line for line in TABLES[table](None))


def test_the_terminals_width_counts_and_a_pipe_has_none(
    tmp_path: Path,
) -> None:
    """The width reaches a command: in a terminal of 40 columns, and where COLUMNS is set."""
    models.mlp().save(tmp_path / "m.onnx")
    words = [sys.executable, "-m", "fasttrt", "run", "m.onnx", "--device", "cpu", "--seed", "1"]
    environment = os.environ | {"COLUMNS": "40", "TERM": "dumb", "NO_COLOR": "1"}
    piped = subprocess.run(
        words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    row = next(line for line in piped.stdout.splitlines() if line.startswith("random"))
    assert re.fullmatch(r"random  y       float32  8x8 +\S+  +\S+  +\S+", row)
    main, terminal = pty.openpty()
    with subprocess.Popen(
        words, cwd=tmp_path, env=environment, stdout=terminal, stderr=subprocess.DEVNULL
    ) as process:
        os.close(terminal)
        shown = b""
        while part := _read(main):
            shown += part
    os.close(main)
    assert process.returncode == 0
    lines = shown.decode().split("\r\n")
    assert "random" in lines
    assert max(map(len, lines)) <= 40
    assert "\x1b" not in shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux's end of a terminal
        return b""
