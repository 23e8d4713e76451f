"""Plans of one network for a range of sizes: fixed to a size, for the range alone, or tuned."""

from __future__ import annotations

import time
from typing import Any

from models import Network

import fasttrt


def exact_shapes(network: Network, size: int) -> dict[str, Any]:
    """Of the inputs at one size."""
    return {n: x.shape for n, x in zip(network.names, network.draw(size), strict=True)}


def fixed_plan(network: Network, device: str, size: int) -> Any:
    """Takes this size alone."""
    return _build(network, device, f"fixed to {size}", exact_shapes(network, size))


def range_plan(network: Network, device: str) -> Any:
    """One profile for all sizes."""
    return _build(network, device, "range", network.shapes(), tuned=None)


def tuned_plan(network: Network, device: str) -> Any:
    """The range, and a profile for each of the network's sizes."""
    sizes = list(network.sizes)
    tuned = sizes if network.dimension is None else {network.dimension: sizes}
    return _build(network, device, "tuned", network.shapes(), tuned=tuned)


def default_plan(network: Network, device: str) -> Any:
    """The range, all else as it comes."""
    return _build(network, device, "default", network.shapes())


def _build(network: Network, device: str, what: str, shapes: Any, **options: Any) -> Any:
    """None without a GPU, where the model itself runs."""
    if device == "cpu":
        return None
    start = time.perf_counter()
    plan = fasttrt.build(network.model, shapes=shapes, progress=False, **options)
    took = time.perf_counter() - start
    size = len(plan.data) / 1e6
    print(f"plan for {network.name} ({what}): {took:.2f} s, {size:.1f} MB", flush=True)
    return plan
