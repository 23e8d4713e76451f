"""Image networks in float16 or float32, exported from torchvision with random weights."""

from __future__ import annotations

import copy
import functools
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from models import Array, Arrays, Network

MEAN = np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]
STD = np.array([0.229, 0.224, 0.225], np.float32)[:, None, None]
TITLES = {"resnet50": "ResNet-50 fp16", "vit_b_16": "ViT-B/16 fp16"}


@functools.cache
def vision(name: str, device: str = "cuda", half: bool = True) -> Network:
    """Batches from 1 to `models.LARGEST_BATCH`; in float16, or in float32.

    In float16 ResNet-50 was 3e-3 off in ONNX Runtime, and answers to different images are 0.2
    apart. Made once in a process, on the GPU if that works, or once for all processes that have the
    same folder in `$FASTTRT_BENCH_MODELS`.
    """
    import torch

    places = ["cuda", "cpu"] if device != "cpu" and torch.cuda.is_available() else ["cpu"]
    for place in places:
        try:
            return _exported(name, place, half)
        except Exception as problem:  # not what is measured: the CPU will do
            if place == places[-1]:
                raise
            print(f"{name} is exported on the CPU, as the GPU failed: {problem}", flush=True)
    raise AssertionError("unreachable")


def _resnet50(place: str) -> Any:
    """Fresh weights let every image end in the same place, and magnify each rounding.

    So the norms get the images' statistics, and each block's share in its sum is as small as
    training makes it.
    """
    import torch
    import torchvision

    model = torchvision.models.resnet50(weights=None).to(place)
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain average
            if name.endswith("bn3"):
                torch.nn.init.constant_(module.weight, 0.3)
    with torch.no_grad():
        model.train()(torch.from_numpy(_images(8)).to(place))
    return model


def _vit_b_16(place: str) -> Any:
    """Fresh weights give zeros, as the head's are zeros."""
    import torch
    import torchvision

    model = torchvision.models.vit_b_16(weights=None)
    torch.nn.init.normal_(model.heads.head.weight, std=0.05)
    return model.to(place)


MAKERS = {"resnet50": _resnet50, "vit_b_16": _vit_b_16}


def _exported(name: str, place: str, half: bool) -> Network:
    import torch

    kind, dtype = ("fp16", np.float16) if half else ("fp32", np.float32)
    path = _folder() / f"{name}-{kind}-{place}.onnx"
    saved = path.with_suffix(".pt")
    if saved.exists():
        model = torch.load(saved, map_location=place, weights_only=False)
    else:
        model = MAKERS[name](place).eval().to(torch.float16 if half else torch.float32)
        _export(model, torch.from_numpy(_images(2).astype(dtype)).to(place), path)
        torch.save(model, saved)
    original = copy.deepcopy(model)
    exact = torch.float64 if place == "cuda" else torch.float32  # which would be TF32 on the GPU
    model = model.to(exact)  # of the same, rounded weights

    def reference(x: Array) -> Array:
        with torch.no_grad():
            y: Array = model(torch.from_numpy(x).to(place, exact)).cpu().numpy()
        return y

    def draw(batch: int) -> Arrays:
        return (_images(batch).astype(dtype),)

    def module(device: str) -> Any:
        return original.to(device)

    title = TITLES[name].replace("fp16", kind)
    return Network(title, path, draw, reference, tolerance=2e-2, module=module)


def _export(model: Any, x: Any, path: Path) -> None:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the old exporter, which is the quick one
        torch.onnx.export(
            model, (x,), str(path), dynamo=False, opset_version=17, input_names=["x"],
            output_names=["y"], dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
        )  # fmt: skip


def _folder() -> Path:
    """`$FASTTRT_BENCH_MODELS`, for processes that come later, or one that goes with this one."""
    kept = os.environ.get("FASTTRT_BENCH_MODELS")
    if not kept:
        return Path(_temporary_folder().name)
    Path(kept).mkdir(parents=True, exist_ok=True)
    return Path(kept)


@functools.cache
def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fasttrt-bench-")


def _images(count: int) -> Array:
    """Soft random shapes of various colours with some noise, normalised as these networks want."""
    rng = np.random.default_rng()
    coarse = rng.random((count, 3, 8, 8), np.float32).repeat(28, 2).repeat(28, 3)
    noise = rng.random((count, 3, 224, 224), np.float32)
    pixels = rng.random((count, 3, 1, 1), np.float32) * (0.8 * coarse + 0.2 * noise)
    normalised: Array = (pixels - MEAN) / STD
    return normalised
