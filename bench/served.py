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
from collections.abc import Callable, Iterator
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


@contextmanager
def served(name: str, python: str, model: Path, device: str) -> Iterator[Served]:
    """Run a server of a model, which answers when the block begins.

    Args:
        name: of `KINDS`.
        python: the interpreter that has it.
        model: an ONNX file of the name m.
        device: of fasttrt's engine.
    """
    port = _free_port()
    if name == "fasttrt":
        command = [python, "-m", "fasttrt", "serve", str(model), "--http-port", str(port)]
        command += ["--no-metrics", "--device", device]
    else:
        script = Path(__file__).with_name("rival_servers.py")
        command = [python, str(script), name, str(model), str(port)]
    log = model.with_name(f"{name}.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, cwd=Path(__file__).parent, start_new_session=True
        )
    try:
        found = Served(KINDS[name], port, process)
        _await_answer(found, log)
        yield found
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.wait(5)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def _await_answer(server: Served, log: Path) -> None:
    """Wait until the port takes connections, and the model is loaded."""
    end = time.monotonic() + STARTING
    path = "/health" if server.kind.title == "LitServe" else "/v2/models/m/ready"
    while True:
        if server.process.poll() is not None or time.monotonic() > end:
            sys.stderr.write(log.read_text(errors="replace")[-3000:])
            raise RuntimeError(f"{server.kind.title} did not start; its log is above")
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)) as client:
                client.request("GET", path)
                status = client.getresponse().status
            if status == 200 or (status in (400, 404) and "granian" in server.kind.title):
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.1)


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


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
