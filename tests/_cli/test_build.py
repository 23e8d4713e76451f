"""The command ``fasttrt build``, run as users run it, with the installed TensorRT-RTX."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

import fasttrt
from fasttrt._cli.build import _workspace
from fasttrt._cli.values import shapes as parse_shapes
from support import models
from support.command_line import run_command


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run_command("build", *arguments)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return models.mlp().save(tmp_path / "m.onnx")


def test_it_writes_a_plan_with_what_was_asked(
    path: Path, tmp_path: Path, rtx: fasttrt.LibraryInfo
) -> None:
    done = run(
        path, "-o", tmp_path / "o.plan", "--minShapes=x:1x16", "--optShapes=x:3x16",
        "--maxShapes=x:7x16", "--memPoolSize=workspace:64", "--builderOptimizationLevel=2",
        "--fp16", "--library", rtx.path, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    plan = fasttrt.Plan.load(tmp_path / "o.plan")
    assert found["bytes"] == (tmp_path / "o.plan").stat().st_size
    assert found["profiles"] == plan.metadata["profiles"]
    assert found["profiles"][0] == {"x": [[1, 16], [3, 16], [7, 16]]}
    config = plan.metadata["config"]
    assert (config["workspace"], config["optimization_level"]) == (64 << 20, 2)
    assert (config["refit"], config["strip_weights"], config["precision"]) == (False, False, "fp16")


@pytest.mark.parametrize("given", ["x:5x16", "x=5x16", "x=2x16:5x16:9x16"])
def test_shapes_in_one_option(path: Path, rtx: fasttrt.LibraryInfo, given: str) -> None:
    done = run(path, "--library", rtx.path, "--shapes", given, "--json")
    assert done.returncode == 0, done.stderr
    low, high = (2, 9) if given.count(":") == 2 else (5, 5)
    assert json.loads(done.stdout)["profiles"][0] == {"x": [[low, 16], [5, 16], [high, 16]]}
    refused = run(path, "--library", rtx.path, "--shapes", given, "--optShapes", "x:5x16")
    assert refused.returncode == 2
    assert "--shapes: not with --minShapes" in refused.stderr


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        ([], [1, 2, 4, 8, 16, 32]),
        (["auto"], [1, 2, 4, 8, 16, 32]),
        (["none"], None),
        (["5,3"], [3, 5]),
        (["batch=7"], [7]),
    ],
)
def test_tuned_sizes(
    path: Path, rtx: fasttrt.LibraryInfo, given: list[str], sizes: list[int] | None
) -> None:
    options = [part for item in given for part in ("--tuned", item)]
    done = run(path, "--library", rtx.path, *options)
    assert done.returncode == 0, done.stderr
    plan = fasttrt.Plan.load(path.with_suffix(".plan"))
    assert plan.metadata.get("tuned") == (None if sizes is None else {"batch": sizes})
    line = f"tuned: batch {', '.join(map(str, sizes or ()))}"
    assert (line in done.stdout) == (sizes is not None)


@pytest.mark.parametrize("given", [["0"], ["batch"], ["batch="], ["batch=x"], ["auto", "1"], [""]])
def test_tuned_sizes_of_another_form_are_refused(path: Path, given: list[str]) -> None:
    done = run(path, *(part for item in given for part in ("--tuned", item)))
    assert done.returncode == 2
    assert "--tuned: expected auto, none, sizes as in 1,8,32, or DIM=SIZES" in done.stderr


def test_a_config_file_gives_options(path: Path, rtx: fasttrt.LibraryInfo) -> None:
    file = path.with_name("fasttrt.toml")
    file.write_text(
        '[engine]\nprecision = "tf32"\ndevice = "auto"\ncontexts = 3\n'
        "[build]\nworkspace = 67108864\noptimization_level = 2\n"
        '[shapes]\nx = "1x16:7x16:9x16"\n'
    )

    def built(*arguments: str) -> tuple[Any, Any]:
        done = run(path, "--library", rtx.path, "--config", file, "--json", *arguments)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        config = found["config"]
        options = ("precision", "workspace", "optimization_level")
        return [config[name] for name in options], found["profiles"][0]["x"]

    assert built() == (["tf32", 64 << 20, 2], [[1, 16], [7, 16], [9, 16]])
    asked = ("--fp16", "--builderOptimizationLevel", "4", "--optShapes", "x:2x16")
    assert built(*asked) == (["fp16", 64 << 20, 4], [[2, 16]] * 3)


def test_a_config_file_is_checked_whole(path: Path, rtx: fasttrt.LibraryInfo) -> None:
    file = path.with_name("fasttrt.toml")
    file.write_text("[engine]\ncontexts = -3\n")
    done = run(path, "--library", rtx.path, "--config", file)
    assert done.returncode == 2
    expected = "engine.contexts: expected an integer from 1 to 1024, got -3"
    assert done.stderr == f"error: fasttrt.toml: {expected}\n"
    file.write_text("[engine]\nverify = true\ncontexts = 3\n")
    done = run(path, "--library", rtx.path, "--config", file)
    assert done.returncode == 0, done.stderr
    assert "warning: fasttrt.toml: engine.verify does not apply to build" in done.stderr


def test_what_changes_the_model_reaches_the_build(tmp_path: Path, rtx: fasttrt.LibraryInfo) -> None:
    path = models.conditional().save(tmp_path / "if.onnx")
    done = run(path, "--library", rtx.path, "--freeze=c=true", "--json")
    assert done.returncode == 0, done.stderr
    assert any(line.startswith("c: the input is a constant") for line in
               json.loads(done.stdout)["changes"])  # fmt: skip
    path = models.mlp().save(tmp_path / "m.onnx")
    cache = tmp_path / "timings"
    done = run(path, "--library", rtx.path, "--dims=batch=5", "--timingCacheFile", cache, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["inputs"][0]["shape"] == [5, 16]
    assert cache.stat().st_size > 0


def test_a_model_that_does_not_parse(tmp_path: Path, rtx: fasttrt.LibraryInfo) -> None:
    path = models.nonzero().save(tmp_path / "nonzero.onnx")
    done = run(path, "--library", rtx.path)
    assert done.returncode == 1
    assert "(NonZero)" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, None), ("workspace:64", 64 << 20), ("workspace:1.5K", 1536), ("workspace:2G", 2 << 30)],
)
def test_sizes_of_pools(text: str | None, expected: int | None) -> None:
    assert _workspace(text) == expected


def test_shapes_as_trtexec_writes_them() -> None:
    found = parse_shapes(None, "a:1x3,b:2", "a:4x3", None)
    assert found == {"a": ((1, 3), (4, 3), (4, 3)), "b": ((2,), (2,), (2,))}
    assert parse_shapes(None, None, None, "ns:x:8") == {"ns:x": ((8,), (8,), (8,))}
    assert parse_shapes(None, None, None, None) is None
    assert parse_shapes(["a:1x3,b:2", "c:0=4:8:9"], None, None, None) == {
        "a": ((1, 3),) * 3, "b": ((2,),) * 3, "c:0": ((4,), (8,), (9,)),
    }  # fmt: skip


def test_the_summary_and_the_log(path: Path, rtx: fasttrt.LibraryInfo) -> None:
    done = run(path, "--library", rtx.path, "--verbose")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"written: {path.with_suffix('.plan')} (")
    assert "precision: as the model states" in done.stdout
    assert "fasttrt.tensorrt: " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--minShapes=x"], "--minShapes: expected input:1x3, got 'x'"),
        (["--memPoolSize=dlaSRAM:1"], "--memPoolSize: expected workspace:SIZE"),
        (["--hardwareCompatibilityLevel=all"], "--hardwareCompatibilityLevel: expected one of"),
        (["--profilingVerbosity=much"], "--profilingVerbosity: expected one of"),
        (["--fp16", "--bf16"], "--precision: expected one value, got fp16 and bf16"),
        (["--dims=n"], "--dims: expected dimension=8 or input.axis=8, got 'n'"),
        (["--optShapes=z:1x2"], "z"),
        (["-o", "/none/m.plan"], "--output: expected a file in an existing folder"),
        (["--builderOptimizationLevel=9"], "--builderOptimizationLevel: expected"),
    ],
)
def test_errors_are_a_message_and_a_code(
    path: Path, rtx: fasttrt.LibraryInfo, arguments: list[str], message: str
) -> None:
    done = run(path, "--library", rtx.path, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not path.with_suffix(".plan").exists()
