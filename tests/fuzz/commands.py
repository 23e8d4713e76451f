"""Command lines: odd options, values and files; each ends with 0, 1 or 2."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np

import fasttrt
from fasttrt._cli import app
from fuzz.damage import Rng, damaged, number, text
from support import models

_COMMANDS = ("inspect", "run", "build", "compare", "quantize", "bench", "profile", "tune", "cache")
_OPTIONS = (
    "--shapes", "--freeze", "--dims", "--config", "--device", "--library", "--precision", "--seed",
    "--output", "-o", "--inputs", "--json", "--verbose", "--samples", "--range", "--atol",
    "--minShapes", "--optShapes", "--memPoolSize", "--builderOptimizationLevel", "--plugins",
    "--timingCacheFile", "--batch", "--contexts", "--concurrency", "--runs", "--plot", "--trace",
    "--folder", "--method", "--percentile", "--operator", "--exclude", "--budget", "--goal",
    "--level", "--no-parse", "--layers", "--force", "--nosuch",
)  # fmt: skip
_KEPT = (".onnx", ".txt")
"""Of files that no command replaces; plans and the like are replaced by the same kind."""
_SLOW = {"bench": ["--runs", "3"], "tune": ["--budget", "0.1", "--duration", "0.01"]}


def attempt(rng: Rng, folder: Path) -> str:
    """A command with some options and files, none of which may come to harm."""
    files = _files(rng, folder)
    command = _COMMANDS[rng.integers(len(_COMMANDS))]
    arguments = [command]
    if command == "cache":
        arguments.append(("list", "verify", "path", text(rng))[rng.integers(4)])
        arguments += ["--folder", str(folder / "cache")]
    else:
        arguments += [files[rng.integers(len(files))] for _ in range(rng.choice([1, 1, 1, 2, 0]))]
        arguments += ["--device", "cpu"] if command not in ("inspect", "quantize", "build") else []
        arguments += ["--library", "none"] if command == "quantize" else []
        arguments += _SLOW.get(command, [])
    for _ in range(rng.integers(4)):
        arguments.append(_OPTIONS[rng.integers(len(_OPTIONS))])
        if rng.random() < 0.85:
            arguments.append(_value(rng, files))
    if any("\0" in argument for argument in arguments):
        return "no command line"
    kept = {file: Path(file).read_bytes() for file in files if Path(file).suffix in _KEPT}
    code = run(arguments)
    if "--force" not in arguments:
        for file, content in kept.items():
            assert Path(file).read_bytes() == content, f"{arguments} has changed {file}"
    return f"exit code {code}"


def run(arguments: list[str]) -> int:
    """The exit code; what `main` makes of an error is 1.

    Raises:
        AssertionError: it is another one, or control characters were printed.
    """
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    code: object = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            app(arguments)
        except SystemExit as error:
            code = error.code or 0
        except (fasttrt.Error, OSError):
            code = 1
    out.flush()
    assert code in (0, 1, 2), f"{arguments}: exit code {code}"
    shown = out.buffer.getvalue()
    assert code == 2 or b"\x1b" not in shown, f"{arguments}: an escape was printed"
    return int(code)


def _files(rng: Rng, folder: Path) -> list[str]:
    model = models.mlp(batch=2).save(folder / "m.onnx")
    fasttrt.Plan(rng.bytes(99), {}).save(folder / "m.plan")
    np.savez(folder / "x.npz", x=models.random_array(np.float32, (2, 16)))
    (folder / "broken.onnx").write_bytes(damaged(rng, model.read_bytes()))
    (folder / "notes.txt").write_text("notes")
    (folder / "fasttrt.toml").write_text("[engine]\ncontexts = 1\n")
    names = ["m.onnx", "m.onnx", "m.plan", "x.npz", "broken.onnx", "notes.txt", "fasttrt.toml"]
    odd = ["/dev/null", "/dev/zero", ".", "none"]
    return [*names, odd[rng.integers(len(odd))]]


def _value(rng: Rng, files: list[str]) -> str:
    way = rng.integers(5)
    if way == 0:
        return files[rng.integers(len(files))]
    if way == 1:
        return str(number(rng))
    if way == 2:
        return f"x={text(rng)}"
    if way == 3:
        return ("x=2x16", "x:2x16", "x=1:2", "batch=2", "fp16", "cpu", "1,2")[rng.integers(7)]
    return text(rng)
