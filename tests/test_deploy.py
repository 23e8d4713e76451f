"""What `deploy` has: plans that are built with an image, and commands that containers run."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import fasttrt
from fasttrt.serving import ServerOptions
from support.models import mlp

DEPLOY = Path(__file__).parent.parent / "deploy"
KEY = "a-key_0123"

pytestmark = pytest.mark.skipif(not DEPLOY.is_dir(), reason="deploy is not here")


def dockerfile(instruction: str, name: str = "Dockerfile") -> list[str]:
    """Return what follows an instruction, each time that it is there, its lines joined."""
    text = re.sub(r"\\\n\s*", "", (DEPLOY / name).read_text())
    return re.findall(rf"(?m)^{instruction} (.*)$", text)


def documents(name: str) -> list[Any]:
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Models in Triton's layout."""
    path = tmp_path / "repository"
    (path / "mlp" / "12").mkdir(parents=True)
    mlp().save(path / "mlp" / "12" / "model.onnx")
    (path / "mlp" / "config.pbtxt").write_text('name: "mlp"\n')
    (path / "mlp" / "build.toml").write_text('[engine]\nprecision = "fp16"\n')
    return path


@pytest.fixture
def commands(tmp_path: Path) -> dict[str, str]:
    """An environment in which ``fasttrt`` is the one that is tested."""
    command = tmp_path / "bin" / "fasttrt"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m fasttrt "$@"\n')
    command.chmod(0o755)
    return {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}"}


def can_build() -> bool:
    try:
        return bool(fasttrt.library().can_build)
    except (fasttrt.LibraryNotFoundError, fasttrt.UnsupportedLibraryError):
        return False


def test_plans_take_the_place_of_models(
    repository: Path, commands: dict[str, str], tmp_path: Path
) -> None:
    if not can_build():
        pytest.skip("no TensorRT that builds here")
    before = {file: file.read_bytes() for file in repository.rglob("*") if file.is_file()}
    script = [DEPLOY / "build_plans.sh", repository, tmp_path / "plans"]
    subprocess.run(["sh", *script], env=commands, check=True, capture_output=True, timeout=240)
    found = {str(p.relative_to(tmp_path / "plans")) for p in (tmp_path / "plans").rglob("*.*")}
    assert found == {"mlp/12/model.plan", "mlp/config.pbtxt", "mlp/build.toml"}
    plan = fasttrt.Plan.load(tmp_path / "plans" / "mlp" / "12" / "model.plan")
    assert plan.metadata["config"]["precision"] == "fp16"
    assert {file: file.read_bytes() for file in before} == before
    again = subprocess.run(
        ["sh", *script], env=commands, capture_output=True, text=True, timeout=60, check=False
    )
    assert again.returncode == 2
    assert "expected a folder that is not there yet" in again.stderr


def containers() -> Iterator[tuple[str, Any]]:
    for name in ("kubernetes.yaml", "kserve.yaml"):
        spec = documents(name)[0]["spec"]
        (container,) = spec.get("template", {"spec": spec})["spec"]["containers"]
        yield name, container


@pytest.mark.parametrize("name", ["kubernetes.yaml", "kserve.yaml"])
def test_a_container_s_command_serves(
    name: str, repository: Path, commands: dict[str, str], tmp_path: Path
) -> None:
    container = dict(containers())[name]
    (tmp_path / "keys").write_text(f"{KEY}\n")
    here = {
        "/models": str(repository),
        "/mnt/models": str(repository),
        "--device=cuda": "--device=cpu",
        "--api-key-file=/run/secrets/fasttrt/api-keys": f"--api-key-file={tmp_path / 'keys'}",
        "0.0.0.0": "127.0.0.1",
    }
    (entry,) = dockerfile("ENTRYPOINT")
    words = [here.get(word, word) for word in (*json.loads(entry), *container["args"])]
    words += ["--device=cpu", *(f"--{kind}-port=0" for kind in ("http", "grpc", "metrics"))]
    with subprocess.Popen(
        words, env=commands, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            ports: dict[str, int] = {}
            while (line := process.stdout.readline()) != "ready\n":
                assert line, process.stderr.read() if process.stderr else ""
                what, on, url = line.partition(" on ")
                ports |= {what: int(url.rpartition(":")[2])} if on else {}
            paths = {container[probe]["httpGet"]["path"] for probe in container if "Probe" in probe}
            assert len(paths) == 2
            assert set(ports) == {"listening", "gRPC", "metrics"}
            asked = [(ports["metrics"], "/metrics"), *((ports["listening"], p) for p in paths)]
            for port, path in asked:
                with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
                    client.request("GET", path)
                    assert client.getresponse().status == 200, path
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_ports_and_times_fit_together() -> None:
    options = ServerOptions()
    deployment, service = documents("kubernetes.yaml")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": 8000, "grpc": 8001, "metrics": 8002}
    assert (options.http_port, options.metrics_port) == (8000, 8002)
    assert {port["targetPort"] for port in service["spec"]["ports"]} == set(ports)
    assert dockerfile("EXPOSE") == [" ".join(map(str, ports.values()))]
    (grace,) = (int(arg[8:]) for arg in container["args"] if arg.startswith("--grace="))
    stopping = container["lifecycle"]["preStop"]["sleep"]["seconds"] + grace
    assert pod["terminationGracePeriodSeconds"] > stopping
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert dockerfile("USER") == ["10001:10001"]
    assert pod["securityContext"]["runAsUser"] == 10001
    cache = next(text for text in dockerfile("ENV") if "FASTTRT_CACHE_DIR" in text)
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert any(f"FASTTRT_CACHE_DIR={mount}/" in cache for mount in mounts)


@pytest.mark.parametrize(
    ("name", "project"),
    [("Dockerfile", "."), ("Dockerfile", "runtime"), ("Dockerfile.ray", ".")],
)
def test_images_get_all_that_the_package_is_built_of(
    name: str, project: str, tmp_path: Path
) -> None:
    """Its metadata, at least, which come from several files."""
    pytest.importorskip("scikit_build_core")
    ignored = (DEPLOY / f"{name}.dockerignore").read_text().splitlines()
    for entry in (line[1:] for line in ignored if line.startswith("!")):
        source, target = DEPLOY.parent / entry, tmp_path / "source" / entry
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        else:
            shutil.copy(source, target)
    code = "from scikit_build_core import build; print(build.prepare_metadata_for_build_wheel('.'))"
    folder = tmp_path / "source" / project
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, timeout=60)
    (metadata,) = folder.glob("*.dist-info/METADATA")
    assert "# fasttrt" in metadata.read_text()


def test_the_job_of_ray_runs_an_example() -> None:
    (job,) = documents("rayjob.yaml")
    python, script, *arguments = shlex.split(job["spec"]["entrypoint"])
    home, _, example = script.rpartition("/examples/")
    assert (python, home) == ("python", "/home/ray")
    text = (DEPLOY.parent / "examples" / example).read_text()
    options = [word.partition("=")[0] for word in arguments if word.startswith("-")]
    assert options == ["--device"]
    assert all(f'add_argument("{option}"' in text for option in options)
    cluster = job["spec"]["rayClusterSpec"]
    (base,) = (value for value in dockerfile("ARG", "Dockerfile.ray") if value.startswith("BASE"))
    assert f":{cluster['rayVersion']}-" in base
    folders = [word for word in arguments if word.startswith("/")]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts.keys() == {volume["name"] for volume in pod["volumes"]}
        assert all(folder.startswith(tuple(mounts.values())) for folder in folders)
