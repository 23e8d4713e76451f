"""Wrong command lines: a line that names the option, what was expected and what came; code 2."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from fasttrt._cli import main
from support import models


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A model, samples for it, files that are neither; the log and warnings as they were."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASTTRT_CACHE_DIR", str(tmp_path / "cache"))
    models.mlp().save(tmp_path / "m.onnx")
    (tmp_path / "samples").mkdir()
    np.save(tmp_path / "samples" / "0.npy", models.mlp().inputs(batch=2)[0])
    (tmp_path / "empty").mkdir()
    (tmp_path / "junk.npz").write_bytes(b"junk")
    (tmp_path / "junk.toml").write_text("[engine")
    (tmp_path / "odd.toml").write_text("[engine]\nspeed = 1\n")
    handlers, show = logging.root.handlers[:], warnings.showwarning
    yield tmp_path
    logging.root.handlers[:], warnings.showwarning = handlers, show


def refusal(capsys: pytest.CaptureFixture[str], *words: str, code: int = 2) -> str:
    """The last line on standard error, of a command that prints nothing else."""
    sys.argv = ["fasttrt", *words]
    with pytest.raises(SystemExit) as stopped:
        main()
    shown = capsys.readouterr()
    assert stopped.value.code == code, shown
    assert not shown.out
    assert "Traceback" not in shown.err
    return shown.err.splitlines()[-1]


ALL = ("build", "run", "bench", "compare", "profile", "tune", "inspect", "quantize")
ENGINES = ("build", "run", "bench", "compare", "profile", "tune")
CHANGES = (*ENGINES, "inspect", "quantize")
PLUGINS = (*ENGINES, "inspect")
MODELS = ("run", "bench", "compare", "build", "tune")
WRONG: list[tuple[tuple[str, ...], list[str], str]] = [
    (ALL, ["--sahpes", "x"], "--sahpes"),
    (ENGINES, ["--shapes", "x"], "--shapes: expected input=1x3x224x224 or input=MIN:OPT:MAX, got"),
    (ENGINES, ["--shapes", "x=1,16"], "--shapes: expected input=1x3x224x224 or"),
    (ENGINES, ["--shapes", "x=-1x16"], "got 'x=-1x16'"),
    (ENGINES, ["--shapes", "x=1x16:2x16"], "got 'x=1x16:2x16'"),
    (ENGINES, ["--shapes", "x=1x16:2x16:4"], "got 'x=1x16:2x16:4'"),
    (ENGINES, ["--shapes", "=1x16"], "got '=1x16'"),
    (ENGINES, ["--shapes", "x:1x16,y"], "got 'y'"),
    (ENGINES, ["--shapes", "x=1x16", "--shapes", "x=2x16"], "expected each name once, got 'x'"),
    (ENGINES, ["--shapes", "x=1x16", "--minShapes", "x:1x16"], "--shapes: not with"),
    (ENGINES, ["--minShapes", "x=1x16"], "--minShapes: expected input:1x3, got 'x=1x16'"),
    (ENGINES, ["--optShapes", "x"], "--optShapes: expected input:1x3, got 'x'"),
    (ENGINES, ["--maxShapes", ""], "--maxShapes: expected input:1x3, got ''"),
    (CHANGES, ["--freeze", "x"], "--freeze: expected input=VALUE in JSON as in axes=[0,1], got"),
    (CHANGES, ["--freeze", "x=[1,"], "--freeze: expected input=VALUE in JSON"),
    (CHANGES, ["--freeze", f"x={'[' * 100_000}"], "--freeze: expected input=VALUE in JSON"),
    (CHANGES, ["--dims", "batch"], "--dims: expected dimension=8 or input.axis=8, got 'batch'"),
    (CHANGES, ["--dims", "batch=-1"], "got 'batch=-1'"),
    (CHANGES, ["--dims", "batch=1.5"], "got 'batch=1.5'"),
    (CHANGES, ["--library", "tensorrtx"], '--library: expected "auto", "rtx", "tensorrt", "lean"'),
    (CHANGES, ["--library", "/none/libnvinfer.so"], "got '/none/libnvinfer.so'"),
    (PLUGINS, ["--plugins", "none.so"], "--plugins: expected the path of a library, got 'none.so'"),
    (ENGINES, ["--config", "none.toml"], "none.toml"),
    (ENGINES, ["--config", "junk.toml"], "junk.toml: expected TOML"),
    (ENGINES, ["--config", "odd.toml"], "odd.toml: [engine]: 'speed' is not an option"),
    (("run", "bench", "compare", "build", "tune"), ["--device", "gpu"], "--device: expected"),
    (("profile",), ["--device", "gpu"], "--device: expected cuda or cuda:N"),
    (("build",), ["--device", "cpu"], "--device: expected cuda or cuda:N"),
    (("run", "bench", "compare", "build", "profile", "inspect", "tune"), ["--precision", "fp17"],
     "--precision: expected one of fp32, tf32, fp16, bf16, got 'fp17'"),
    (("bench",), ["--precision", "fp16,"], "--precision: expected one of"),
    (("bench",), ["--batch", "0"], "--batch: expected integers >= 1 as in 1,8,32, got '0'"),
    (("bench",), ["--batch", ""], "--batch: expected integers >= 1"),
    (("bench",), ["--batch", "1,8.5"], "--batch: expected integers >= 1"),
    (("bench",), ["--contexts", "2000"], "--contexts: expected integers from 1 to 1024"),
    (("bench",), ["--concurrency", "-1"], "--concurrency: expected integers from 1 to 1024"),
    (("bench",), ["--runs", "-3"], "got '-3'"),
    (("bench",), ["--duration=soon"], "'soon'"),
    (("bench", "tune"), ["--duration", "inf"], "--duration: expected a number of seconds, got inf"),
    (("bench",), ["--warmup", "inf"], "--warmup: expected a number of seconds, got inf"),
    (("bench",), ["--device", "cuda:0,1"], "--device: expected one GPU or the CPU"),
    (("bench",), ["--shapes", "z=1x16"], "--shapes: the model has no input 'z'; it has x"),
    (("bench",), ["--shapes", "x=1x7"], "x: expected a shape like (-1, 16)"),
    (("bench",), ["--freeze", "z=1"], "--freeze: the model has no input 'z'"),
    (("bench",), ["--dims", "z=1"], "--dims: the model has no dimension 'z'"),
    (("bench",), ["--shapes", "x=1x16:2x16:4x16", "--batch", "1,5"],
     "--batch: x expected 1 to 4, got 5 (in m.onnx)"),
    (("bench",), ["--plot", "m.gif"], "--plot: expected one of .png, .svg, .pdf, got 'm.gif'"),
    (("bench",), ["--plot", "m.png"], "--plot: expected several values of --batch"),
    (("run", "compare", "tune"), ["--inputs", "none"], "none"),
    (("run", "compare"), ["--device", "cpu", "--inputs", "empty"], "--inputs: expected .npy or"),
    (("run", "compare"), ["--device", "cpu", "--inputs", "m.onnx"], "--inputs: expected a .npy or"),
    (("run",), ["-o", "out.txt"], "--output: expected a .npz or a folder, got 'out.txt'"),
    (("run",), ["-o", "none/out.npz"], "--output: expected a file in an existing folder"),
    (("run",), ["-o", "none/out/"], "--output: expected a folder, or a new one in an"),
    (("run", "compare"), ["--inputs", "samples", "--seed", "1"], "--seed: not with --inputs"),
    (("compare",), ["--inputs", "samples", "--samples", "4"], "--samples: not with --inputs"),
    (("compare",), ["--range", "x=1"], "--range: expected input=MIN:MAX as in x=-1:1, got"),
    (("compare",), ["--range", "x=a:b"], "--range: expected input=MIN:MAX as in x=-1:1, got"),
    (("compare",), ["--cosine", "2"], "got '2'"),
    (("compare",), ["--plan", "m.onnx", "--minShapes", "x:1x16"], "--minShapes: not with --plan"),
    (("inspect",), ["--layers"], "--layers: expected a plan"),
    (("tune",), ["--goal", "speed"], "--goal: expected one of latency, throughput, got 'speed'"),
    (("tune",), ["--level", "6"], "--level: expected integers from 0 to 5"),
    (("build",), ["--fp16", "--bf16"], "--precision: expected one value, got fp16 and bf16"),
    (("build",), ["--memPoolSize", "1G"], "--memPoolSize: expected workspace:SIZE"),
    (("build",), ["--hardwareCompatibilityLevel", "x"], "--hardwareCompatibilityLevel: expected"),
    (("build",), ["--builderOptimizationLevel", "9"], "--builderOptimizationLevel: expected"),
    (("quantize",), ["--method", "x"], "--method: expected one of minmax, entropy, percentile"),
    (("quantize",), ["--operator", "Relu"], "--operator: expected one of"),
    (("quantize",), ["--percentile", "1"], "got '1'"),
    (("quantize",), ["--percentile", "99"], "--percentile: only with --method percentile, got"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        pytest.param(command, words, message, id=f"{command} {' '.join(words)[:40]}")
        for commands, words, message in WRONG
        for command in commands
    ],
)
def test_a_wrong_option_is_named(
    command: str,
    words: list[str],
    message: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", [])
    files = ["m.onnx", "samples"] if command == "quantize" else ["m.onnx"]
    before = {path.name for path in folder.iterdir()}
    assert message in refusal(capsys, command, *files, *words)
    assert {path.name for path in folder.iterdir()} == before


@pytest.mark.parametrize("command", ALL)
@pytest.mark.parametrize(("model", "what"), [("none.onnx", "none.onnx"), ("samples", "samples")])
def test_what_is_no_file_is_named(
    command: str, model: str, what: str, folder: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "argv", [])
    rest = ["samples"] if command == "quantize" else []
    assert what in refusal(capsys, command, model, *rest)


def test_a_damaged_file_is_no_wrong_usage(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [])
    words = ("m.onnx", "--device", "cpu", "--inputs", "junk.npz")
    assert "--inputs: junk.npz cannot be read" in refusal(capsys, "run", *words, code=1)
    assert "--inputs: junk.npz cannot be read" in refusal(capsys, "compare", *words, code=2)


def test_what_the_encoding_lacks_is_escaped(folder: Path) -> None:
    x, y = (models.value(name, TensorProto.FLOAT, [2]) for name in ("x", "\u65e5"))
    node = helper.make_node("Neg", ["x"], [y.name])
    (folder / "n.onnx").write_bytes(models.make([node], [x], [y]).SerializeToString())
    done = subprocess.run(
        [sys.executable, "-m", "fasttrt", "run", "n.onnx", "--device", "cpu"],
        env=os.environ | {"PYTHONIOENCODING": "latin-1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "\\u65e5" in done.stdout
