"""Servers in processes of their own, with the same model, for `serving.py`."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Array = Any
STARTING = 60.0
"""Seconds within which a server has to answer."""
_TICKS = os.sysconf("SC_CLK_TCK")
_MIB = 1 << 20


class Exchange(NamedTuple):
    """A request, and how its answer is read."""

    path: str
    headers: dict[str, str]
    body: bytes
    read: Callable[[bytes, Any], Array]
    """The output, from an answer's body and headers."""


def binary(x: Array) -> Exchange:
    """Of Triton's protocol, with binary tensors."""
    tensor = _tensor(x) | {"parameters": {"binary_data_size": x.nbytes}}
    header = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
    text = json.dumps(header, separators=(",", ":")).encode()

    def read(body: bytes, headers: Any) -> Array:
        begin = int(headers["Inference-Header-Content-Length"])
        (output,) = json.loads(body[:begin])["outputs"]
        return np.frombuffer(body, np.float32, offset=begin).reshape(output["shape"])

    headers = {"Inference-Header-Content-Length": str(len(text))}
    return Exchange("/v2/models/m/infer", headers, text + x.tobytes(), read)


def kserve_binary(x: Array) -> Exchange:
    """The same; KServe's SDK wants to be told what the body is."""
    exchange = binary(x)
    return exchange._replace(
        headers=exchange.headers | {"Content-Type": "application/octet-stream"}
    )


def plain_json(x: Array) -> Exchange:
    """Of Triton's protocol, with numbers as text."""
    tensor = _tensor(x) | {"data": x.reshape(-1).tolist()}
    body = json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()

    def read(answer: bytes, _: Any) -> Array:
        (output,) = json.loads(answer)["outputs"]
        return np.reshape(np.array(output["data"], np.float32), output["shape"])

    return Exchange("/v2/models/m/infer", {"Content-Type": "application/json"}, body, read)


def base64_json(x: Array) -> Exchange:
    """LitServe's own protocol is what its application makes of JSON."""
    content = {"x": base64.b64encode(x.tobytes()).decode(), "shape": x.shape}

    def read(answer: bytes, _: Any) -> Array:
        found = json.loads(answer)
        return np.frombuffer(base64.b64decode(found["y"]), np.float32).reshape(found["shape"])

    headers = {"Content-Type": "application/json"}
    return Exchange("/predict", headers, json.dumps(content).encode(), read)


def _tensor(x: Array) -> dict[str, Any]:
    return {"name": "x", "shape": list(x.shape), "datatype": "FP32"}


class Kind(NamedTuple):
    """A server, and the best format that it has."""

    title: str
    format: str
    exchange: Callable[[Array], Exchange]


KINDS = {
    "fasttrt": Kind("fasttrt serve", "binary", binary),
    "granian": Kind("granian, Python handler", "binary", binary),
    "mlserver": Kind("MLServer", "JSON", plain_json),
    "kserve": Kind("KServe SDK", "binary", kserve_binary),
    "litserve": Kind("LitServe", "base64 in JSON", base64_json),
}


@dataclass
class Served:
    """A server that runs."""

    kind: Kind
    port: int
    process: subprocess.Popen[bytes]

    def cpu_seconds(self) -> float:
        """What it and the processes that it has started have used of the processor."""
        ticks = 0
        for pid in _family(self.process.pid):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            ticks += int(fields[11]) + int(fields[12])
        return ticks / _TICKS

    def resident_mib(self) -> float:
        """The memory of its own process."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE") / _MIB

    def ask(self, exchange: Exchange) -> Array:
        """The output of one request."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as client:
            client.request("POST", exchange.path, exchange.body, exchange.headers)
            response = client.getresponse()
            answer = response.read()
            if response.status != 200:
                raise RuntimeError(f"{self.kind.title}: {response.status}: {answer[:500]!r}")
            return exchange.read(answer, response.headers)

    def check(self, x: Array, right: Array) -> None:
        """Compare an answer with numpy's."""
        y = self.ask(self.kind.exchange(x))
        error = float(np.abs(y - right).max() / np.abs(right).max())
        if y.shape != right.shape or not error < 1e-2:  # TensorRT may round to TF32
            raise RuntimeError(f"{self.kind.title}: wrong answer, off by {error:g}")


class ServeProcess:
    """`fasttrt serve` in a process of its own, ready within the ``with`` block."""

    def __init__(
        self, path: Path, log: Path, options: Sequence[str], python: str = sys.executable
    ) -> None:
        """Start it for a model, or a folder of models."""
        self.port, self.grpc_port = free_port(), free_port()
        command = [python, "-m", "fasttrt", "serve", str(path), "--http-port", str(self.port)]
        command += ["--grpc-port", str(self.grpc_port), "--no-metrics"]
        self.process = start([*command, *options], log)
        self._log = log

    def __enter__(self) -> ServeProcess:
        """Wait until it is ready."""
        await_answer(self.process, self.port, "/v2/health/ready", self._log)
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        stop(self.process)


@contextmanager
def served(name: str, python: str, model: Path, device: str) -> Iterator[Served]:
    """Run a server of a model, which answers when the block begins.

    Args:
        name: of `KINDS`.
        python: the interpreter that has it.
        model: an ONNX file of the name m.
        device: of the engine.
    """
    log = model.with_name(f"{name}.log")
    if name == "fasttrt":
        with ServeProcess(model, log, ["--device", device], python) as ours:
            yield Served(KINDS[name], ours.port, ours.process)
        return
    port = free_port()
    script = Path(__file__).with_name("rival_servers.py")
    process = start([python, str(script), name, str(model), str(port), device], log)
    try:
        paths = {"litserve": "/health", "granian": ""}
        await_answer(process, port, paths.get(name, "/v2/models/m/ready"), log)
        yield Served(KINDS[name], port, process)
    finally:
        stop(process)


def start(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a server in a process group of its own."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command, stdout=output, stderr=output, cwd=Path(__file__).parent, start_new_session=True
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server, and the processes that it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(5)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def await_answer(process: subprocess.Popen[bytes], port: int, path: str, log: Path) -> None:
    """Wait until a path answers with 200; an empty one: until there is any answer."""
    end = time.monotonic() + STARTING
    while True:
        if process.poll() is not None or time.monotonic() > end:
            sys.stderr.write(log.read_text(errors="replace")[-3000:])
            raise RuntimeError("a server did not start; its log is above")
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as client:
                client.request("GET", path or "/")
                if client.getresponse().status == 200 or not path:
                    return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.05)


def _family(pid: int) -> list[int]:
    """A process, and all that it has started, and these."""
    found = [pid]
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += _family(int(child))
    except OSError:  # it has ended
        pass
    return found


def free_port() -> int:
    """A port that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
