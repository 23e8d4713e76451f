"""PyTorch modules run by engines on the GPU, against the modules themselves in float64."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import Any

import pytest

import fasttrt
from support.gpu import EXACT, is_v8, need, product_tolerance

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def torch() -> Any:
    torch = need("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    return torch


@pytest.fixture
def net(torch: Any) -> Any:
    """A small convolutional network, on the GPU."""
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU(),
        torch.nn.Flatten(), torch.nn.Linear(8 * 81, 5),
    )  # fmt: skip
    layers[1].running_mean.normal_()
    return layers.eval().cuda()


def convert(module: Any, example: Any, **options: Any) -> fasttrt.TorchModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporters, about themselves
        defaults: dict[str, Any] = {"config": EXACT, "exporter": "torchscript"}
        return fasttrt.from_torch(module, example, **defaults | options)


def check(torch: Any, module: Any, actual: Any, x: Any, tolerance: float) -> None:
    """Against the module in float64, on the CPU."""
    import copy

    with torch.no_grad():
        expected = copy.deepcopy(module).cpu().double()(x.cpu().double())
    error = (actual.cpu().double() - expected).abs().max() / expected.abs().max()
    assert actual.shape == expected.shape
    assert float(error) < tolerance


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_tensors_stay_on_the_gpu(torch: Any, net: Any, exporter: str) -> None:
    if exporter == "dynamo" and find_spec("onnxscript") is None:
        pytest.skip("onnxscript is not installed")
    if exporter == "dynamo" and is_v8():
        pytest.skip("it writes opsets that TensorRT 8.6 does not know")
    example = torch.randn(2, 3, 9, 9)  # moved to the module's GPU
    dynamic = {"input": {0: (1, 2, 4)}}
    with convert(net, example, exporter=exporter, dynamic=dynamic) as engine:
        assert engine.engine.device == "cuda:0"
        assert engine.to("cuda") is engine
        for batch in (1, 4, 3):
            x = torch.randn(batch, 3, 9, 9, device="cuda")
            y = engine(x)
            assert y.device == x.device
            assert y.dtype == torch.float32
            check(torch, net, y, x, product_tolerance())
            odd = x.to(memory_format=torch.channels_last)
            check(torch, net, engine(input=odd), x, product_tolerance())
    assert next(net.parameters()).device.type == "cuda"


def test_tensors_in_host_memory_give_such(torch: Any, net: Any) -> None:
    with convert(net, torch.randn(2, 3, 9, 9)) as engine:
        x = torch.randn(2, 3, 9, 9)
        y = engine(x)
        assert y.device.type == "cpu"
        check(torch, net, y, x, product_tolerance())
        with pytest.raises(fasttrt.InputError, match="input: expected"):
            engine(torch.randn(3, 3, 9, 9, device="cuda"))


def test_work_is_in_the_order_of_the_current_stream(torch: Any, net: Any) -> None:
    with convert(net, torch.randn(2, 3, 9, 9)) as engine:
        stream = torch.cuda.Stream()
        for _ in range(20):
            with torch.cuda.stream(stream):
                x = torch.randn(2, 3, 9, 9, device="cuda") * 3 + 1
                y = engine(x) * 2
            stream.synchronize()
            check(torch, net, y / 2, x, product_tolerance())


def test_half_precision(torch: Any, net: Any) -> None:
    if is_v8():
        pytest.skip("TensorRT 8.6 chooses precisions by flags")
    with convert(net.half(), torch.randn(2, 3, 9, 9).half()) as engine:
        x = torch.randn(2, 3, 9, 9, device="cuda").half()
        y = engine(x)
        assert y.dtype == torch.float16
        check(torch, net, y, x, 1e-2)


def test_results_keep_their_structure(torch: Any) -> None:
    class Parts(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any, pair: Any, scale: float = 2.0) -> Any:
            return {"sum": x + pair[0], "rest": [x * scale, (pair[1] - x, None)]}

    tensors = [torch.randn(2, 3, device="cuda") for _ in range(3)]
    with convert(Parts().eval(), (tensors[0], tensors[1:]), device="cuda") as engine:
        a, b, c = (torch.randn(2, 3, device="cuda") for _ in range(3))
        result = engine(a, [b, c], scale=2.0)
        torch.testing.assert_close(result["sum"], a + b)
        torch.testing.assert_close(result["rest"][0], a * 2)
        torch.testing.assert_close(result["rest"][1][0], c - a)
        assert result["rest"][1][1] is None


def test_a_frozen_input_is_compared_in_host_memory(torch: Any) -> None:
    """What is on the GPU would have to be waited for."""

    class Scaled(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(16, 8)

        def forward(self, x: Any, scale: Any) -> Any:
            return self.linear(x) * scale

    module, scale = Scaled().eval().cuda(), torch.randn(8)
    example = (torch.randn(4, 16), scale)
    with convert(module, example, freeze={"scale": scale.numpy()}) as engine:
        x = torch.randn(4, 16, device="cuda")
        with torch.no_grad():
            expected = (module.linear.double()(x.double()) * scale.cuda().double()).cpu()
        y = engine(x, scale)
        assert y.device == x.device
        error = (y.cpu().double() - expected).abs().max() / expected.abs().max()
        assert float(error) < product_tolerance()
        with pytest.raises(fasttrt.InputError, match=r"scale: .* in host memory.* on cuda:0"):
            engine(x, scale.cuda())
        with pytest.raises(fasttrt.InputError, match=r"scale: expected float32\[8\] = .*, got"):
            engine(x, scale + 1)
