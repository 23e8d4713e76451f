"""``fasttrt serve``: a process that serves until it is told to stop."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc

from support.command_line import run_command
from support.models import mlp


@contextmanager
def serving(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], int, list[str]]]:
    """Run the command until the block ends; yields it, the port, and its lines up to ``ready``."""
    command = [sys.executable, "-m", "fasttrt", "serve", *map(str, arguments)]
    command += ["--device", "cpu", "--http-port", "0"]
    command += [] if "--grpc-port" in arguments else ["--no-grpc"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            lines: list[str] = []
            while not lines or lines[-1] not in ("ready", "not ready"):
                line = process.stdout.readline()
                assert line, process.stderr.read() if process.stderr else ""
                lines.append(line.rstrip("\n"))
            yield process, int(lines[0].rpartition(":")[2]), lines
        finally:
            if process.poll() is None:
                process.kill()


def get(port: int, path: str) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
        client.request("GET", path)
        response = client.getresponse()
        return response.status, response.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_single_file_until_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    model = mlp()
    file = model.save(tmp_path / "net.onnx")
    options = ["--metrics-port", 0, "--grpc-port", 0, "--batching", 5]
    with serving(file, *options) as (process, port, lines):
        assert lines[1].startswith("gRPC on 127.0.0.1:")
        assert lines[2].startswith("metrics on http://127.0.0.1:")
        assert lines[3:] == ["net/1: READY", "ready"]
        with tritonclient.grpc.InferenceServerClient(lines[1].rpartition(" ")[2]) as client:
            assert client.is_model_ready("net")
        assert get(port, "/v2/health/ready")[0] == 200
        config = json.loads(get(port, "/v2/models/net/config")[1])
        assert config["max_batch_size"] == 5
        assert get(int(lines[2].rpartition(":")[2]), "/metrics")[0] == 200
        (x,) = model.inputs(batch=2)
        tensor = {"name": "x", "shape": [2, 16], "datatype": "FP32", "data": x.ravel().tolist()}
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
            client.request("POST", "/v2/models/net/infer", json.dumps({"inputs": [tensor]}))
            (output,) = json.loads(client.getresponse().read())["outputs"]
        y = np.reshape(output["data"], output["shape"])
        np.testing.assert_allclose(y, model.reference(x), atol=1e-4)
        process.send_signal(number)
        assert process.wait(60) == 0


def test_a_repository_of_which_one_model_is_damaged(tmp_path: Path) -> None:
    for name, content in (("good", mlp().to_bytes()), ("bad", b"no model")):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "1" / "model.onnx").write_bytes(content)
    options = ["--no-exit-on-error", "--no-metrics", "--model-control-mode", "poll"]
    with serving(tmp_path, *options, "--repository-poll-secs", 1) as (process, port, lines):
        assert lines[1:] == ["bad/1: UNAVAILABLE", "good/1: READY", "not ready"]
        assert get(port, "/v2/health/live")[0] == 200
        assert get(port, "/v2/health/ready")[0] == 400
        assert get(port, "/v2/models/good/ready")[0] == 200
        process.terminate()
        assert process.wait(60) == 0
    done = run_command(
        "serve", tmp_path, "--device", "cpu", "--http-port", "0", "--no-metrics", "--no-grpc"
    )
    assert done.returncode == 1
    assert "bad: load failed for model 'bad': version 1 is at UNAVAILABLE state" in done.stderr
    assert "error: models cannot be loaded: bad" in done.stderr


def test_explicit_mode_loads_what_it_is_told(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "1").mkdir(parents=True)
        mlp().save(tmp_path / name / "1" / "model.onnx")
    options = ["--no-metrics", "--model-control-mode", "explicit", "--load-model", "b"]
    with serving(tmp_path, *options) as (process, port, lines):
        assert lines[1:] == ["b/1: READY", "ready"]
        assert get(port, "/v2/models/a/ready")[0] == 400
        process.terminate()
        assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model-control-mode", "all"], "--model-control-mode: expected one of none, poll, exp"),
        (["--grpc-port", "1", "--no-grpc"], "--grpc-port: expected no port with --no-grpc"),
        (["--load-model", "x"], "--load-model: only with --model-control-mode explicit"),
        (["--api-key-exempt", "x"], "--api-key-exempt: expected one of health, metrics, got 'x'"),
        (["--shapes", "x=1x16"], "--shapes: expected a single model with it, got a folder"),
        (["--batching", "-1"], "--batching: expected an integer >= 0, got -1"),
        (["--max-queue", "0"], "--max-queue: expected an integer >= 1, got 0"),
        (["--http-port", "70000"], "--http-port: expected an integer from 0 to 65535, got 70000"),
        (["--metrics-port", "-2"], "--metrics-port: expected an integer from 0 to 65535, got -2"),
        (["--grace", "-1"], "--grace: expected seconds >= 0, got -1.0"),
        (["--http-max-input-size", "0"], "--http-max-input-size: expected an integer from 1 to"),
        (["--access-log", "/"], "--access-log: cannot write to '/': Is a directory"),
        (["--host", ""], "--host: expected an address, got ''"),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "net").mkdir()
    done = run_command("serve", tmp_path, *arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr


def test_a_port_in_use(tmp_path: Path) -> None:
    file = mlp().save(tmp_path / "net.onnx")
    with serving(file, "--no-metrics") as (process, port, _):
        done = run_command("serve", file, "--device", "cpu", "--http-port", str(port))
        assert done.returncode == 1
        assert f"127.0.0.1:{port}" in done.stderr
        process.terminate()
        assert process.wait(60) == 0


def test_a_folder_without_models(tmp_path: Path) -> None:
    file = mlp().save(tmp_path / "net.onnx")
    done = run_command("serve", tmp_path, "--http-port", "0", "--no-grpc", "--no-metrics")
    assert done.returncode == 2, done.stderr
    expected = "expected NAME/1/model.onnx or NAME/1/model.plan; to serve a single file, pass"
    message = f"no model in '{tmp_path}': {expected} '{file}'"
    assert message in done.stderr
    assert done.stdout == ""
    options = ["--no-metrics", "--model-control-mode", "explicit"]
    with serving(tmp_path, *options) as (process, _, lines):  # clients may bring some
        assert lines[1:] == ["ready"]
        process.terminate()
        assert f"warning: {message}" in process.communicate(timeout=60)[1]


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    done = run_command("serve", tmp_path / "none")
    assert done.returncode == 2
    assert os.fspath(tmp_path / "none") in done.stderr.replace("\n", "")


def test_the_options_that_the_guide_from_triton_names_exist() -> None:
    guide = Path(__file__).parent.parent.parent / "docs" / "guides" / "from-triton.md"
    if not guide.is_file():
        pytest.skip("the documentation is not here")
    table = guide.read_text().partition("| `tritonserver` |")[2].partition("## ")[0]
    cells = [line.split(" | ", 1) for line in table.splitlines() if line.startswith("| `")]
    named = {option for _, cell in cells for option in re.findall(r"`(--[a-z-]+)", cell)}
    same = {o for theirs, cell in cells if "the same" in cell
            for o in re.findall(r"`(--[a-z-]+)", theirs)}  # fmt: skip
    assert len(named) > 8
    assert len(same) > 4
    words = run_command("serve", "--help").stdout.split()
    assert (named | same) - set(words) == set()
