"""Where a benchmark runs, and with what."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import fasttrt
from fasttrt import _core


def machine(device: str) -> dict[str, str]:
    """The machine and all versions that matter."""
    found = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "system": f"{platform.platform()}, {os.cpu_count()} cores, {_processor()}",
        "python": sys.version.split()[0],
    }
    for name, ask in (("gpu", _gpu), ("library", lambda: str(fasttrt.library()))):
        if device != "cpu":
            try:
                found[name] = ask()
            except Exception as problem:  # the cases will tell
                found[name] = f"unknown: {problem}"
    packages = (
        "numpy", "torch", "torchvision", "onnx", "onnxruntime", "cupy-cuda13x", "cuda-bindings",
    )  # fmt: skip
    versions = {"fasttrt": fasttrt.__version__}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    found["packages"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    settings = {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(("CUDA_", "NVIDIA_TF32", "FASTTRT_", "PYTORCH_"))
    }
    found["environment"] = ", ".join(f"{k}={v}" for k, v in settings.items()) or "-"
    return found


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if "model name" in line), "unknown")


def _gpu() -> str:
    info = _core.device_info(0)
    text = f"{info.name} ({info.major}.{info.minor}), CUDA {info.driver_version}"
    fields = "driver_version,pcie.link.gen.current,pcie.link.width.current,clocks.sm,clocks.max.sm"
    try:
        told = subprocess.run(
            ["nvidia-smi", "-i", "0", f"--query-gpu={fields}", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=20, check=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.SubprocessError) as problem:
        told = f"nvidia-smi failed: {problem}"
    return f"{text}, driver, PCIe generation and width, SM clock now and at most: {told}"
