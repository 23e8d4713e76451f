"""How far off and how fast a network is in fp32, tf32, fp16 and bf16.

python bench/precision.py --json precision.json
python bench/precision.py --model model.onnx --shapes x:1x3x224x224:8x3x224x224:32x3x224x224
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measure import replay_times, summarize, timed
from models import Array, Network, error
from networks import RESNET, from_file
from options import add_models, arguments
from report import Report
from sessions import CPU, open_session
from vision import TITLES, vision

import fasttrt

BATCHES = (1, 32)
LIMITS = {"fp32": 5e-4, "tf32": 1e-2, "fp16": 2e-2, "bf16": 1e-1}
"""The precisions, and the largest error of right answers in each, as a share of the largest
value. In float32 ResNet-50 was up to 3.5e-4 off on TensorRT-RTX 1.6.1 (H100; TensorRT 8.6.0 was
1.3e-5, and ViT-B/16 8.8e-6), as if its convolutions were Winograd's; in TF32 it is 1.5e-3."""
SPEEDUP = 1.6  # of fp16 over tf32, at the larger batch


def network_of(name: str, options: argparse.Namespace) -> Network:
    """In float32."""
    if name in TITLES:
        return vision(name, options.device, half=False)
    return from_file(Path(name), options.shapes, options.tolerance)


def measure(report: Report, name: str, folder: Path) -> dict[tuple[str, int], float]:
    """A table of one network: medians by precision and batch."""
    network = network_of(name, report.options)
    session = open_session(network.model, CPU)
    least, most = network.batches
    batches = sorted({min(max(batch, least), most) for batch in BATCHES})
    for batch in batches:
        xs = network.draw(batch)
        ys = session.run(None, dict(zip(network.names, xs, strict=True)))
        np.savez(folder / f"{batch}.npz", *xs, *ys)
    medians: dict[tuple[str, int], float] = {}
    print(f"{network.name}: errors as a share of the largest value of ONNX Runtime's in float32")
    print(f"{'':6} {'batch':>5} {'max error':>10} {'top-1':>7} {'open s':>8} {'median us':>10}")
    for precision in LIMITS:
        rows = report.attempt(precision, in_process, report, network, precision, folder, batches)
        for row in rows or []:
            medians[precision, row["batch"]] = row["us"]["median"]
            print(
                f"{precision:6} {row['batch']:5} {row['error']:10.2e} {row['top1']:7.1%} "
                f"{row['open_s']:8.1f} {row['us']['median']:10.1f}",
                flush=True,
            )
            report.row(network=network.name, precision=precision, **row)
    return medians


def in_process(
    report: Report, network: Network, precision: str, folder: Path, batches: list[int]
) -> list[dict[str, Any]]:
    """A row for each batch, by a process that has TF32 as wanted.

    TensorRT-RTX heeds this variable alone, when it builds and when it makes a context.
    """
    environment = dict(os.environ)
    environment.pop("NVIDIA_TF32_OVERRIDE", None)
    if precision == "fp32":
        environment["NVIDIA_TF32_OVERRIDE"] = "0"
    command = [
        sys.executable, __file__, "--child", precision, "--device", report.options.device,
        "--model", str(network.model), "--folder", str(folder), "--names", *network.names,
        "--batches", *map(str, batches), "--runs", "20" if report.options.quick else "100",
    ]  # fmt: skip
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{precision}: exit code {done.returncode}\n{done.stderr}")
    rows: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return rows


def child(options: argparse.Namespace) -> int:
    """Print the rows of one precision as JSON."""
    rows = []
    for batch in options.batches:
        with np.load(options.folder / f"{batch}.npz") as saved:
            arrays = [saved[f"arr_{i}"] for i in range(len(saved.files))]
        xs, ys = tuple(arrays[: len(options.names)]), tuple(arrays[len(options.names) :])
        shapes = {name: x.shape for name, x in zip(options.names, xs, strict=True)}
        start = time.perf_counter()
        with fasttrt.Engine(
            options.model[0], device=options.device, precision=options.child, shapes=shapes,
            progress=False, cache=False,
        ) as engine:  # fmt: skip
            opened = time.perf_counter() - start
            errors = []
            for run in range(4):  # TensorRT-RTX has been right in the first run only
                if run == 3:  # or wrong in the first one with other inputs
                    engine.infer(*(np.ascontiguousarray(np.flip(x, -1)) for x in xs))
                answer = engine.infer(*xs)
                answers = answer if isinstance(answer, tuple) else (answer,)
                off = error(answers, ys)
                if not off <= LIMITS[options.child] and options.device != "cpu":
                    raise ValueError(f"{options.child} is off by {off:.3g} of the largest value")
                errors.append(off)
            if options.device == "cpu":
                times = timed(engine.infer, [xs], 3)
            else:
                times = replay_times(engine, xs, options.runs)
            rows.append(
                {
                    "batch": batch, "error": max(errors), "top1": agreement(answers[0], ys[0]),
                    "open_s": opened, "us": summarize(times)._asdict(),
                }
            )  # fmt: skip
    print(json.dumps(rows))
    return 0


def agreement(answer: Array, right: Array) -> float:
    """How often the largest value is at the same place."""
    return float((answer.argmax(-1) == right.argmax(-1)).mean())


def main() -> int:
    parser = arguments(__doc__, budget=300)
    add_models(parser, "resnet50 vit_b_16")
    parser.add_argument("--child", choices=LIMITS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--names", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--batches", nargs="+", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--runs", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(options)
    report = Report("precision", options)
    for name in options.model:
        title = TITLES.get(name, name).removesuffix(" fp16")
        with tempfile.TemporaryDirectory(prefix="fasttrt-bench-") as folder:
            medians = report.run(title, measure, report, name, Path(folder)) or {}
        if title == RESNET:
            times = [medians.get((precision, BATCHES[-1])) for precision in ("tf32", "fp16")]
            got = times[0] / times[1] if times[0] and times[1] else None
            text = f"{title}, batch {BATCHES[-1]}: median of tf32 / fp16"
            report.target("fp16", text, got=got, limit=SPEEDUP, most=False)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
