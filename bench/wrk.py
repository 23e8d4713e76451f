"""wrk, an HTTP client that costs less than the servers that it measures; for `serving.py`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from measure import LeftOutError
from served import Exchange

_LUA = """
local file = io.open("{body}", "rb")
wrk.method = "POST"
wrk.body = file:read("*a")
{headers}
"""
_UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6}


class Load(NamedTuple):
    """What a load has been answered with."""

    requests: int
    seconds: float
    p50_us: float
    p99_us: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def wrk(port: int, exchange: Exchange, clients: int, seconds: int) -> Load:
    """Send a request again and again over so many connections.

    Raises:
        LeftOutError: there is no wrk; ``$WRK`` may name it.
        RuntimeError: an answer was an error, or none came.
    """
    program = os.environ.get("WRK") or shutil.which("wrk")
    if program is None:
        raise LeftOutError("wrk is not installed (apt-get install wrk)")
    with tempfile.TemporaryDirectory() as folder:
        body, script = Path(folder) / "body", Path(folder) / "request.lua"
        body.write_bytes(exchange.body)
        headers = "\n".join(
            f'wrk.headers["{name}"] = "{value}"' for name, value in exchange.headers.items()
        )
        script.write_text(_LUA.format(body=body, headers=headers))
        command = [program, "-t1", f"-c{clients}", f"-d{seconds}s", "--latency", f"-s{script}"]
        command += ["--timeout", "20s", f"http://127.0.0.1:{port}{exchange.path}"]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds + 60, check=True
        )
    text = done.stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(f"wrk:\n{text}")
    count = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", text)
    if count is None:
        raise RuntimeError(f"wrk:\n{text}")
    spent = float(count[2]) * (60 if count[3] == "m" else _UNITS[count[3]] / 1e6)
    return Load(int(count[1]), spent, _percentile(text, 50), _percentile(text, 99))


def _percentile(text: str, percent: int) -> float:
    found = re.search(rf"^ +{percent}% +([\d.]+)(us|ms|s) *$", text, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"wrk:\n{text}")
    return float(found[1]) * _UNITS[found[2]]
