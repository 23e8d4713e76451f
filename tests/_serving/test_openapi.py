"""The OpenAPI description: that it has every path, and that the server keeps to it."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import pytest

from fasttrt._serving.app import _MISSING
from fasttrt._serving.engine_settings import EngineDefaults
from fasttrt._serving.model_source import open_source
from fasttrt._serving.models import Models
from fasttrt._serving.openapi import openapi
from fasttrt._serving.routes import Action, find_route
from fasttrt._serving.server import Server
from fasttrt._serving.server_options import ServerOptions
from support.models import mlp

KEY = "a-key_0123"
CASES = os.environ.get("FASTTRT_TEST_SCHEMATHESIS")
"""How many random requests to send to each path, besides those at the bounds of the schemas."""
PHASES = ["--phases", "coverage,fuzzing", "-n", CASES] if CASES else ["--phases", "coverage"]
SETTINGS = """
[parameters]
"path.model" = "mlp"
"path.version" = "1"

[checks.not_a_server_error]
expected-statuses = ["2xx", "4xx", 501, 503]

[[operations]]
include-path-regex = "/v2/repository/models/"
[operations.parameters]
"path.model" = "other"
"""
"""What schemathesis puts into paths; a model of its own is loaded and unloaded."""


def test_every_path_is_described() -> None:
    described = set()
    for path, operations in openapi()["paths"].items():
        filled = path.replace("{model}", "m").replace("{version}", "1").replace("{region}", "r")
        route = find_route(filled.removeprefix("/").split("/"))
        assert route is not None, path
        assert {m.lower() for m in route.methods} == set(operations) - {"parameters"}, path
        assert {n for n in ("model", "version", "region") if f"{{{n}}}" in path} == {
            parameter["name"] for parameter in operations.get("parameters", ())
        }
        described.add(route.action)
    assert described == set(get_args(Action)) - set(_MISSING)


def narrowed(description: dict[str, Any]) -> dict[str, Any]:
    """Return the description as it is for a model, so that requests reach it."""
    request = description["components"]["schemas"]["InferRequest"]["properties"]
    tensor = request["inputs"]["items"]
    tensor["required"].append("data")
    tensor["properties"] = {
        "name": {"const": "x"},
        "datatype": {"const": "FP32"},
        "shape": {"const": [1, 2]},
        "data": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
    }
    request["inputs"] |= {"minItems": 1, "maxItems": 1}
    output = request["outputs"]["items"]["properties"]
    output["name"] = {"const": "y"}
    output["parameters"] = {"type": "object", "properties": {"binary_data": {"type": "boolean"}}}
    request["outputs"]["maxItems"] = 1
    return description


def get(server: Server, path: str) -> Any:
    with closing(http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=60)) as client:
        client.request("GET", path, headers={"X-Api-Key": KEY})
        response = client.getresponse()
        assert response.status == 200
        return json.loads(response.read())


@pytest.mark.skipif(find_spec("schemathesis") is None, reason="schemathesis is not installed")
def test_the_server_keeps_to_it(tmp_path: Path) -> None:
    for name in ("mlp", "other"):
        (tmp_path / "models" / name / "1").mkdir(parents=True)
        mlp((2, 3)).save(tmp_path / "models" / name / "1" / "model.onnx")
    (tmp_path / "keys").write_text(f"{KEY}\n")
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    defaults = EngineDefaults({"device": "cpu"})
    models = Models(open_source(tmp_path / "models"), defaults=defaults, control="explicit")
    options = ServerOptions(
        http_port=0, metrics_port=None, api_key_file=tmp_path / "keys", allow_shared_memory=True
    )
    with Server(models, options) as server:
        assert models.start() == {}
        description = narrowed(get(server, "/v2/openapi.json"))
        (tmp_path / "openapi.json").write_text(json.dumps(description))
        found = subprocess.run(
            [
                sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml",
                "run", "openapi.json", "--url", f"http://{server.url}",
                "-H", f"Authorization: Bearer {KEY}", *PHASES, "--seed", "1", "--no-shrink",
                "--checks", "all", "--exclude-checks", "positive_data_acceptance",
                "--continue-on-failure",
            ],
            cwd=tmp_path, capture_output=True, text=True, check=False,
            timeout=86400 if CASES else 240,
        )  # fmt: skip
        assert found.returncode == 0, found.stdout[-8000:] + found.stderr[-2000:]
        passed = re.search(r"(\d+) generated, (\d+) passed", found.stdout)
        assert passed is not None
        assert int(passed[1]) == int(passed[2]) > 500
        models_ = {model["name"]: model for model in get(server, "/v2/overview")["models"]}
        assert models_["mlp"]["requests"] > 10
