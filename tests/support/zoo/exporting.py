"""From a network of the zoo to an ONNX file, by PyTorch's exporter and nothing else."""

from __future__ import annotations

import inspect
import logging
import warnings
from pathlib import Path
from typing import Any

from support.zoo.network import Network


def make_module(network: Network, small: bool = False, seed: int = 1) -> Any:
    """Make the module with random weights, on the CPU in float32."""
    import torch

    torch.manual_seed(seed)
    module = network.make(small)
    if network.settle:
        _settle(module, network, small)
    return module


def _settle(module: Any, network: Network, small: bool) -> None:
    """Give batch norms the statistics of some data, as training does.

    With fresh weights activations shrink from layer to layer, and every input has the same answer.
    """
    import torch

    norms = [m for m in module.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None  # the plain average
        norm.train()
    sizes = network.all_sizes(small)
    sizes = {**sizes, "batch": 8} if "batch" in sizes else sizes
    with torch.no_grad():
        module(*(torch.from_numpy(x) for x in network.draw(100, sizes).values()))
    for norm in norms:
        norm.eval()


def export(
    module: Any, network: Network, path: Path, *, small: bool = False, dynamic: bool = True
) -> None:
    """Write the module's ONNX file; the axes of `Network.dynamic` vary, if wanted."""
    import torch

    options: dict[str, Any] = {}
    if dynamic and network.dynamic:
        axes = tuple(
            {i: torch.export.Dim.AUTO for i, d in enumerate(x.shape) if d in network.dynamic}
            for x in network.inputs.values()
        )
        takes = inspect.signature(module.forward).parameters.values()
        is_variadic = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in takes)
        options["dynamic_shapes"] = (axes,) if is_variadic else axes
    example = tuple(torch.from_numpy(x) for x in network.draw(0, network.all_sizes(small)).values())
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, example, str(path), dynamo=True, verbose=False,
            input_names=list(network.inputs), **options,
        )  # fmt: skip
