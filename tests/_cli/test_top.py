"""``fasttrt top`` against real servers: what it prints, what it says when one is away."""

from __future__ import annotations

import http.server
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt._cli.top_rates import History, ModelRates, percentile
from fasttrt._cli.top_view import lines
from fasttrt._serving.request_counters import LATENCY_BOUNDS_NS
from fasttrt.serving import Server, ServerOptions
from support.command_line import run_command
from support.models import mlp
from support.randomness import new_rng
from support.threads import under_load

KEY = "a-key_0123"


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(f"{KEY}\n")
    return file


@pytest.fixture(scope="module")
def engine_() -> Iterator[fasttrt.Engine]:
    with fasttrt.Engine(mlp().proto, device="cpu") as engine:
        yield engine


def start(engine: fasttrt.Engine, key_file: Path, port: int = 0, name: str = "mlp") -> Server:
    options = ServerOptions(api_key_file=key_file)
    return fasttrt.serve({name: engine}, http_port=port, metrics_port=None, options=options)


@pytest.fixture(scope="module")
def server(engine_: fasttrt.Engine, key_file: Path) -> Iterator[Server]:
    with start(engine_, key_file) as server:
        yield server


def load(server: Server, rows: int) -> Any:
    """Return what sends requests until it is told to stop."""
    import http.client

    x = new_rng().standard_normal((rows, 16)).tolist()
    tensor = {"name": "x", "shape": [rows, 16], "datatype": "FP32", "data": x}
    body = json.dumps({"inputs": [tensor]})

    def work(is_over: threading.Event) -> None:
        client = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=60)
        with closing(client):
            while not is_over.is_set():
                client.request("POST", "/v2/models/mlp/infer", body, {"X-Api-Key": KEY})
                assert client.getresponse().read()

    return work


def test_what_happened_in_an_interval(server: Server, key_file: Path) -> None:
    command = ("top", server.url, "--once", "--interval", "0.5")
    with under_load([load(server, 3), load(server, 5)]):
        found = run_command(*command, "--json", "--api-key-file", key_file)
        text = run_command(*command, FASTTRT_API_KEY=KEY).stdout
    assert (found.returncode, found.stderr) == (0, "")
    state = json.loads(found.stdout)
    (model,) = state["models"]
    assert (state["ready"], model["name"], model["state"]) == (True, "mlp", "READY")
    assert set(model["batch_sizes"]) == {"3", "5"}
    assert 3 < model["mean_batch"] < 5
    assert model["requests_per_second"] == model["rows_per_second"] > 0  # it has no batches
    latency = model["latency_ms"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"]
    assert model["requests"] > 0
    first, *_, sizes, _, shares = text.rstrip("\n").split("\n")
    assert first.startswith(f"fasttrt {fasttrt.__version__} at http://{server.url}: ready, up ")
    assert sizes.split() == ["batch", "sizes", "mean", "3-4", "5-8"]
    assert re.fullmatch(r"mlp/1 +[34]\.\d\d +\d+% +\d+%", shares)


def test_a_server_that_cannot_be_looked_at(server: Server, key_file: Path, tmp_path: Path) -> None:
    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path.startswith("/ok/") else 404)
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_: object) -> None:
            pass

    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    at = f"127.0.0.1:{other.server_port}"
    wrong = tmp_path / "wrong"
    wrong.write_text("another\n")
    cases: list[tuple[list[str | os.PathLike[str]], int, str]] = [
        (["127.0.0.1:1"], 1, "http://127.0.0.1:1: the server cannot be reached: .*refused"),
        ([server.url], 1, "the server refuses the API key, or needs one: --api-key-file"),
        ([server.url, "--api-key-file", wrong], 1, "the server refuses the API key"),
        ([at], 1, f"http://{at}/v2/overview: expected a server of fasttrt, got status 404"),
        ([f"{at}/ok"], 1, f"http://{at}/ok/v2/overview: expected a server .*, got another answer"),
        (["ftp://host"], 2, "URL: expected one as in http://localhost:8000, got 'ftp://host'"),
        (["host:99999"], 2, "URL: expected one"),
        (["http://a b"], 2, "URL: expected one"),
        ([server.url, "--interval", "0"], 2, "interval"),
    ]
    for arguments, code, message in cases:
        found = run_command("top", *arguments, "--once")
        assert (found.returncode, found.stdout) == (code, "")
        assert re.search(message, found.stderr), found.stderr
    other.shutdown()
    other.server_close()
    found = run_command("top", server.url)
    assert found.returncode == 2
    assert "--once, --json: expected one of them" in found.stderr


class Screen:
    """The command in a terminal, and what it has written there."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self._master, slave = pty.openpty()
        command = [sys.executable, "-m", "fasttrt", "top", *arguments]
        variables = {**os.environ, "TERM": "xterm", "COLUMNS": "120", **environment}
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=variables
        )
        os.close(slave)

    def await_text(self, text: str) -> str:
        """Return what was written until now, the text included."""
        seen = ""
        end = time.monotonic() + 60
        while text not in seen:
            assert time.monotonic() < end, seen
            if select.select([self._master], [], [], 1)[0]:
                seen += os.read(self._master, 1 << 16).decode(errors="replace")
        return seen

    def stop(self) -> int:
        """Press Ctrl-C, and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        while self.process.poll() is None:  # it cannot end before its output is read
            with suppress(OSError):
                os.read(self._master, 1 << 16)
        os.close(self._master)
        return self.process.returncode


def test_a_server_that_is_away_comes_back(engine_: fasttrt.Engine, key_file: Path) -> None:
    first = start(engine_, key_file)
    port = first.http_port
    screen = Screen(first.url, "--interval", "0.1", FASTTRT_API_KEY=KEY)
    try:
        screen.await_text("READY")
        first.close(0)
        screen.await_text("the server cannot be reached")
        with start(engine_, key_file, port, "another"):
            screen.await_text("another/1")
            assert screen.stop() == 0
    finally:
        screen.process.kill()


def test_percentiles_are_right_within_a_bucket() -> None:
    bounds = [ns / 1000 for ns in LATENCY_BOUNDS_NS]
    rng = new_rng()
    times = rng.lognormal(6.5, 1.5, 5000)
    counts = np.bincount(np.searchsorted(bounds, times), minlength=len(bounds) + 1).tolist()
    for share in (0.01, 0.5, 0.9, 0.99, 1.0):
        exact = np.quantile(times, share, method="inverted_cdf")
        assert percentile(bounds, counts, share) == pytest.approx(exact, rel=0.26, abs=17)
    assert percentile(bounds, [0] * (len(bounds) + 1), 0.5) is None
    assert percentile([1.0, 2.0], [0, 4, 0], 0.25) == pytest.approx(1.25)
    assert percentile([1.0, 2.0], [0, 0, 3], 0.5) == 2.0


def state(uptime: float, started: float = 1.0, **model: Any) -> dict[str, Any]:
    loaded = {
        "name": "m", "version": "1", "state": "READY", "reason": "", "device": "cuda:0",
        "in_memory": True, "failures": {}, "pending": 0, "batch_sizes": {}, "latency": [0, 0, 0],
        "memory": {},
    }  # fmt: skip
    return {
        "server": {"name": "fasttrt", "version": "1"}, "started": started, "ready": True,
        "uptime_seconds": uptime, "latency_bounds_us": [1000.0, 2000.0], "gpus": [],
        "models": [loaded | model] if model else [],
    }  # fmt: skip


def counts(requests: int, **others: Any) -> dict[str, Any]:
    return {"requests": requests, "rows": 2 * requests, "executions": requests, **others}


def test_rates_are_differences() -> None:
    history = History(3)
    history.add(state(10, **counts(100, latency=[100, 0, 0], failures={"OTHER": 1})))
    history.add(state(12, **counts(104, latency=[100, 4, 0], batch_sizes={"2": 4})))
    history.add(state(14, **counts(110, latency=[100, 10, 0], batch_sizes={"2": 4, "8": 6},
                                   failures={"OTHER": 4, "REJECTED": 2})))  # fmt: skip
    (model,) = history.models()
    assert (model.requests_per_second, model.rows_per_second) == (3, 6)
    assert model.failures_per_second == 3
    assert model.batch_sizes == {2: 4, 8: 6}
    assert model.mean_batch == pytest.approx(5.6)
    assert model.latency_ms == pytest.approx((1.5, 1.9, 1.99))
    history.add(state(15, **counts(5, latency=[5, 0, 0])))  # it was loaded again
    assert history.models()[0].requests_per_second == 5
    history.add(state(20, 2.0, **counts(7, latency=[7, 0, 0])))  # another server
    (model,) = history.models()
    assert (model.requests, model.requests_per_second, model.latency_ms) == (7, 0, ())
    history.add(state(21, 2.0))
    assert history.models() == []


def test_the_view_fits_the_terminal() -> None:
    gpu = {"uuid": "GPU-1", "name": "H100", "gpu_utilization": 0.5, "gpu_memory_used_bytes": 10**9}
    models = [
        ModelRates("a-rather-long-name-of-a-model", "12", "READY", "", "cuda:0", True, 123456,
                   12.345, 98765.4, 0.0, 3, 5.5, {1: 1, 33: 3}, (0.5, 1.25, 1234.0), 2 * 10**9),
        ModelRates("bad", "1", "UNAVAILABLE", "no model"),
    ]  # fmt: skip
    shown = state(90061) | {"gpus": [gpu]}
    for width in (40, 80, 200, None):
        found = lines(shown, models, "http://h:1", width)
        assert width is None or max(map(len, found)) <= width
        text = " ".join("\n".join(found).split())
        for part in (
            "up 1 d 1 h", "bad/1: no model", "123456", "12.3", "98765", "1234", "2.0 GB", "25%",
            "75%", "33-64", "50%",
        ):  # fmt: skip
            assert part in text
    assert lines(state(1), [], "http://h:1")[-1] == "no models"
