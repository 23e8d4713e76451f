"""Networks as people export them today, in each precision, against PyTorch in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import fasttrt
from fasttrt._graph.model import OnnxModel
from support.gpu import is_rtx, need, report
from support.zoo import NETWORKS
from support.zoo.exporting import export, make_module
from support.zoo.network import Array, Network
from support.zoo.running import (
    allowed,
    engine_error,
    error,
    profile,
    run_torch,
    sizes_of,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(600),
    # Of PyTorch's recurrent modules in 16 bits: about their memory, not their results.
    pytest.mark.filterwarnings("ignore:RNN module weights are not part of single contiguous"),
]

PRECISIONS = ("fp32", "fp16", "bf16")


def _torch_error(
    network: Network, precision: str, inputs: dict[str, Array], expected: list[Array]
) -> float | None:
    """Of PyTorch in the same precision; None where the module names a type itself."""
    import torch

    if precision == "fp32":
        return None
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    module = make_module(network).cuda().to(dtype)
    try:
        return error(run_torch(module, inputs, dtype), expected)
    except RuntimeError:
        return None


@pytest.mark.parametrize("name", NETWORKS)
def test_network(name: str, tmp_path: Path) -> None:
    if not is_rtx():
        pytest.skip("the bounds were measured with TensorRT-RTX")
    torch, network = need("torch"), NETWORKS[name]
    for package in network.needs:
        need(package)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    module, path = make_module(network), tmp_path / "m.onnx"
    export(module, network, path)
    shapes = profile(network, OnnxModel(path))
    sizes = list(sizes_of(network))[: None if shapes else 1]
    inputs = [network.draw(seed, given) for seed, given in enumerate(sizes)]
    others = [network.draw(60 + seed, given) for seed, given in enumerate(sizes)]
    module = module.cuda()
    expected = [run_torch(module, x) for x in inputs]
    other = error(run_torch(module, network.draw(50, sizes[0])), expected[0])
    found: dict[str, Any] = {}
    for precision in PRECISIONS:
        config = fasttrt.BuildConfig(precision=precision)  # type: ignore[arg-type]
        with fasttrt.Engine(path, device="cuda", config=config, shapes=shapes) as engine:
            found[precision] = max(
                engine_error(engine, x, z, y)
                for x, z, y in zip(inputs, others, expected, strict=True)
            )
        theirs = _torch_error(network, precision, inputs[0], expected[0])
        found[f"limit_{precision}"] = allowed(precision, theirs)
    report("zoo", network=name, other_inputs=other, sizes=len(sizes), **found)
    for precision in PRECISIONS:
        assert found[precision] < found[f"limit_{precision}"], found
    assert other > 3 * found["fp16"]  # else the answer to any other input would pass
