"""PyTorch modules run by engines on the CPU, against the modules themselves."""

from __future__ import annotations

import re
import warnings
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt import InputError
from support.process import python_output

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

nn = torch.nn
EXPORTERS = ["torchscript", "dynamo"]


@pytest.fixture(params=EXPORTERS)
def exporter(request: pytest.FixtureRequest) -> str:
    if request.param == "dynamo":
        pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    return str(request.param)


def convert(module: Any, example: Any, **options: Any) -> fasttrt.TorchModule:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="torch")
        return fasttrt.from_torch(
            module, example, **{"device": "cpu", "exporter": "torchscript"} | options
        )


def assert_same(actual: Any, expected: Any) -> None:
    """The same nesting, types, devices and, nearly, values."""
    assert type(actual) is type(expected)
    if isinstance(expected, torch.Tensor):
        assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
        assert actual.device == expected.device
        assert not actual.requires_grad
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
    elif isinstance(expected, dict):
        assert list(actual) == list(expected)
        for name, value in expected.items():
            assert_same(actual[name], value)
    elif isinstance(expected, (tuple, list)):
        assert len(actual) == len(expected)
        for ours, theirs in zip(actual, expected, strict=True):
            assert_same(ours, theirs)
    else:
        assert actual == expected


def check(engine: fasttrt.TorchModule, module: Any, *args: Any, **kwargs: Any) -> None:
    with torch.no_grad():
        assert_same(engine(*args, **kwargs), module(*args, **kwargs))


class Net(nn.Module):  # type: ignore[misc, name-defined]
    """A convolutional classifier with a norm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5)
        )
        self.head = nn.Linear(8, 5)

    def forward(self, image: Any) -> Any:
        return self.head(self.body(image).mean((2, 3)))


class Many(nn.Module):  # type: ignore[misc, name-defined]
    """Nested arguments, options and results."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 4)

    def forward(
        self, x: Any, states: Any, mask: Any = None, scale: float = 1.0, *, extra: Any = None
    ) -> Any:
        h, c = states["h"], states["c"]
        y = self.first(x) * scale + h
        if mask is not None:
            y = y * mask
        if extra is not None:
            y = y + extra[0] - extra[1]
        return {"logits": y, "index": y.argmax(-1), "state": [c + 1, (h * 2, None)], "name": "many"}


def many() -> tuple[Any, Any]:
    return torch.randn(2, 6), {"h": torch.randn(2, 4), "c": torch.randint(0, 9, (2, 3))}


# Arguments and results


def test_a_classifier(exporter: str) -> None:
    module = Net().eval()
    module.body[1].running_mean.normal_()
    with convert(module, torch.randn(2, 3, 9, 9), exporter=exporter) as engine:
        assert [spec.name for spec in engine.engine.inputs] == ["image"]
        assert [spec.name for spec in engine.engine.outputs] == ["output"]
        for _ in range(3):
            check(engine, module, torch.randn(2, 3, 9, 9))
        check(engine, module, image=torch.randn(2, 3, 9, 9))
        check(engine, module, torch.randn(2, 9, 9, 3).permute(0, 3, 1, 2))
        with pytest.raises(InputError, match=r"image: expected shape \(2, 3, 9, 9\)"):
            engine(torch.randn(1, 3, 9, 9))
        with pytest.raises(InputError, match="image: expected dtype float32, got float64"):
            engine(torch.randn(2, 3, 9, 9).double())
        check(engine, module, torch.randn(2, 3, 9, 9))


@pytest.mark.parametrize("extent", [1, 2, 5])
def test_dynamic_extents(exporter: str, extent: int) -> None:
    """Whatever extent the example has."""
    module = Net().eval()
    dynamic = {"image": {0: (1, 2, 6), -1: (4, 9, 16)}}
    example = torch.randn(extent, 3, 9, 9)
    with convert(module, example, exporter=exporter, dynamic=dynamic) as engine:
        (spec,) = engine.engine.inputs
        assert spec.shape == (-1, 3, 9, -1)
        assert (spec.min, spec.opt, spec.max) == ((1, 3, 9, 4), (2, 3, 9, 9), (6, 3, 9, 16))
        for batch, width in ((1, 4), (6, 16), (3, 7)):
            check(engine, module, torch.randn(batch, 3, 9, width))
        with pytest.raises(InputError, match=r"image: expected shape min .* got \(7, 3, 9, 9\)"):
            engine(torch.randn(7, 3, 9, 9))


def test_extents_that_go_together(exporter: str) -> None:
    class Sum(nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, a: Any, b: Any) -> Any:
            return a * 2 + b

    dynamic = {"a": {0: (1, 4, 8)}, "b": {0: (1, 4, 8)}}
    example = torch.randn(1, 3), torch.randn(1, 3)
    with convert(Sum().eval(), example, exporter=exporter, dynamic=dynamic) as engine:
        for n in (1, 5, 8):
            check(engine, Sum(), torch.randn(n, 3), b=torch.randn(n, 3))


def test_nested_arguments_and_results(exporter: str) -> None:
    module = Many().eval()
    x, states = many()
    example = {"x": x, "states": states, "scale": 2.5, "extra": (x[:, :4], x[:, 2:])}
    with convert(module, example, exporter=exporter) as engine:
        names = {spec.name for spec in engine.engine.inputs}
        assert names == {"x", "states.h", "states.c", "extra.0", "extra.1"}
        names = {spec.name for spec in engine.engine.outputs}
        assert names == {"logits", "index", "state.0", "state.1.0"}
        x, states = many()
        extra = (torch.randn(2, 4), torch.randn(2, 4))
        check(engine, module, x, states, scale=2.5, extra=extra)
        check(engine, module, x, states, None, 2.5, extra=extra)
        with pytest.raises(InputError, match=r"scale: expected 2\.5, which was exported as a con"):
            engine(x, states, extra=extra)
        with pytest.raises(InputError, match="mask: not in the example"):
            engine(x, states, torch.ones(2, 4), 2.5, extra=extra)
        with pytest.raises(InputError, match=r"expected .*extra\.1.*, got .*extra"):
            engine(x, states, scale=2.5)
        with pytest.raises(InputError, match=r"expected .*states\.h.*, got x, states, scale"):
            engine(x, torch.randn(2, 4), scale=2.5, extra=extra)
        with pytest.raises(InputError, match="expected arguments like the example's"):
            engine(x, states, scale=2.5, extra=list(extra))
        with pytest.raises(InputError, match=r"states\.h: expected a tensor .*, got float"):
            engine(x, states | {"h": 1.0}, scale=2.5, extra=extra)
        with pytest.raises(InputError, match="do not match forward"):
            engine(x, states, unknown=1)
        check(engine, module, x, states, scale=2.5, extra=extra)


class Scaled(nn.Module):  # type: ignore[misc, name-defined]
    """A linear layer, scaled."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x: Any, scale: Any) -> Any:
        return self.linear(x) * scale


def test_a_frozen_input_has_its_value_in_each_call(exporter: str) -> None:
    module, x, scale = Scaled().eval(), torch.randn(4, 3), torch.randn(2)
    freeze = {"scale": scale.numpy()}
    with convert(module, (x, scale), exporter=exporter, freeze=freeze) as engine:
        assert [spec.name for spec in engine.engine.inputs] == ["x"]
        check(engine, module, torch.randn(4, 3), scale)
        check(engine, module, torch.randn(4, 3), scale=scale.clone())
        expected = re.escape(f"scale: expected float32[2] = {scale.tolist()}, which freeze= has")
        for other, got in (
            (scale + 1, r"float32\[2\] = "),
            (scale.double(), r"float64\[2\] = "),
            (scale[:1], r"float32\[1\] = "),
            (torch.empty(2, device="meta"), "a tensor on meta"),  # whose values cannot be seen
        ):
            for args, kwargs in (((x, other), {}), ((x,), {"scale": other})):
                with pytest.raises(InputError, match=f"{expected}.*, got {got}"):
                    engine(*args, **kwargs)
        with pytest.raises(InputError, match="scale: expected a tensor that requires no gradient"):
            engine(x, scale.clone().requires_grad_())
        check(engine, module, x, scale)  # as usable as before


def test_frozen_values_are_compared_bit_by_bit() -> None:
    module, x = Scaled().eval(), torch.randn(1, 3)
    scale = torch.tensor([torch.nan, 0.0])
    with convert(module, (x, scale), freeze={"scale": scale.tolist()}) as engine:
        assert engine(x, scale)[0, 0].isnan()
        with pytest.raises(InputError, match=r"got float32\[2\] = \[nan, -0.0\]"):
            engine(x, torch.tensor([torch.nan, -0.0]))
    scale = torch.randn(9, 1, 2)  # too long to be shown
    with convert(module, (x, scale), freeze={"scale": scale.numpy()}) as engine:
        check(engine, module, x, scale)
        with pytest.raises(
            InputError, match=r"^scale: expected float32\[9, 1, 2\], .* got other values$"
        ):
            engine(x, scale + 1)


def test_an_example_unlike_the_frozen_value_is_refused() -> None:
    message = r"scale: expected float32\[2\] = \[2.0, 3.0\], .* got float32\[2\] = \[1.0, 1.0\]"
    with pytest.raises(InputError, match=message):
        convert(Scaled().eval(), (torch.randn(4, 3), torch.ones(2)), freeze={"scale": [2.0, 3.0]})


def test_a_default_may_be_given() -> None:
    module = Many().eval()
    with convert(module, many()) as engine:
        x, states = many()
        check(engine, module, x, states)
        check(engine, module, x, states, mask=None, scale=1.0)
        with pytest.raises(InputError, match="scale: not in the example"):
            engine(x, states, scale=3.0)


Pair = namedtuple("Pair", ["left", "right"])


class Parts(nn.Module):  # type: ignore[misc, name-defined]
    """Variable arguments, and results in named containers."""

    def forward(self, *xs: Any, **named: Any) -> Any:
        return Pair(xs[0] + xs[1], named["z"] * 2), OrderedDict(b=xs[0] * 1.5, a=[xs[1] - 1])


class Strict(nn.Module):  # type: ignore[misc, name-defined]
    """The same, of three arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = Parts()

    def forward(self, x: Any, y: Any, /, z: Any) -> Any:
        return self.parts(x, y, z=z)


def test_named_containers(exporter: str) -> None:
    module = Strict().eval()
    a, b, c = (torch.randn(2, 3) for _ in range(3))
    with convert(module, [a, b, c], exporter=exporter) as engine:
        assert [spec.name for spec in engine.engine.inputs] == ["x", "y", "z"]
        check(engine, module, b, c, a)
        check(engine, module, c, a, z=b)


def test_variable_arguments() -> None:
    module = Parts().eval()
    a, b = torch.randn(2, 3), torch.randn(2, 3)
    with pytest.raises(KeyError, match="z"):
        convert(module, (a, b))

    class Sum(nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, *xs: Any) -> Any:
            return xs[0] - 2 * xs[1]

    with convert(Sum().eval(), (a, b)) as engine:
        assert [spec.name for spec in engine.engine.inputs] == ["xs.0", "xs.1"]
        check(engine, Sum(), b, a)
        with pytest.raises(
            InputError, match=r"expected xs\.0, xs\.1 as in the example, got xs\.0$"
        ):
            engine(a)


def test_an_input_that_nothing_needs(exporter: str) -> None:
    class Ignores(nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any, unused: Any, y: Any) -> Any:
            return x - y

    example = [torch.randn(3) for _ in range(3)]
    with convert(Ignores().eval(), example, exporter=exporter) as engine:
        check(engine, Ignores(), *(torch.randn(3) for _ in range(3)))


def test_results_of_the_names_of_inputs_and_twice_the_same(exporter: str) -> None:
    class Echo(nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            y = x + 1
            return {"x": y * 2, "y": y, "x_out": y, "same": x}

    with convert(Echo().eval(), torch.randn(3), exporter=exporter) as engine:
        check(engine, Echo(), torch.randn(3))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int64", "int32", "bool", "uint8"])
def test_types(dtype: str) -> None:
    class Turn(nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return x.reshape(3, 2).transpose(0, 1)

    x = torch.randint(0, 2, (2, 3)).to(getattr(torch, dtype))
    with convert(Turn().eval(), x) as engine:
        check(engine, Turn(), torch.randint(0, 2, (2, 3)).to(getattr(torch, dtype)))


def test_scalars(exporter: str) -> None:
    class Total(nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any, factor: Any) -> Any:
            return (x * factor).sum(), x.shape[0]

    example = torch.randn(2, 3), torch.tensor(2.0)
    with convert(Total().eval(), example, exporter=exporter) as engine:
        assert [spec.name for spec in engine.engine.outputs] == ["output.0"]
        check(engine, Total(), torch.randn(2, 3), torch.tensor(-1.5))
    with pytest.raises(InputError, match=r"the result 1 is a number that may depend on the ext"):
        convert(Total().eval(), example, exporter=exporter, dynamic={"x": {0: (1, 2, 4)}})


def test_keys_with_dots_in_them() -> None:
    class Dots(nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return x["a.b"] + x["a"]["b"]

    x = {"a.b": torch.ones(2), "a": {"b": torch.ones(2)}}
    with pytest.raises(InputError, match=r"a unique name for each value, got x\.a\.b, x\.a\.b"):
        convert(Dots().eval(), (x,))


def test_results_are_tensors_of_their_own() -> None:
    module = Net().eval()
    with convert(module, torch.randn(2, 3, 9, 9)) as engine, torch.no_grad():
        x = torch.randn(2, 3, 9, 9)
        first = engine(x)
        kept = first.clone()
        engine(torch.randn(2, 3, 9, 9))
        assert torch.equal(first, kept)
        first += 1  # it may be written


# A drop-in


def test_the_module_stays_as_it_is() -> None:
    module = Net().eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    modes = [part.training for part in module.modules()]
    grads = [p.requires_grad for p in module.parameters()]
    convert(module, torch.randn(2, 3, 9, 9)).close()
    assert [part.training for part in module.modules()] == modes
    assert [p.requires_grad for p in module.parameters()] == grads
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    module(torch.randn(2, 3, 9, 9)).sum().backward()


def test_training_is_refused() -> None:
    with pytest.raises(InputError, match=r"module\.eval\(\) first .*: itself, body, body\.0"):
        convert(Net(), torch.randn(2, 3, 9, 9))
    module = Net().eval()
    module.body[3].train()
    with pytest.raises(InputError, match=r"in training mode: body\.3\)"):
        convert(module, torch.randn(2, 3, 9, 9))
    assert module.body[3].training


def test_it_behaves_as_a_module_in_evaluation() -> None:
    with convert(nn.ReLU().eval(), torch.randn(3)) as engine:
        assert engine.training is False
        assert engine.eval() is engine
        assert engine.train(False) is engine
        assert engine.to("cpu") is engine
        assert engine.to(torch.device("cpu")) is engine
        with pytest.raises(InputError, match="cannot be trained"):
            engine.train()
        with pytest.raises(InputError, match="the engine is on cpu and stays there, got 'cuda:1'"):
            engine.to("cuda:1")
        with pytest.raises(InputError, match=r"expected the engine's device, got torch\.float16"):
            engine.to(torch.float16)
        assert repr(engine).startswith("<fasttrt.TorchModule of <fasttrt.Engine on cpu: (input")
    with pytest.raises(fasttrt.Error, match="the engine is closed"):
        engine(torch.randn(3))


def test_gradients_are_not_lost_in_silence() -> None:
    with convert(nn.ReLU().eval(), torch.randn(3)) as engine:
        x = torch.randn(3, requires_grad=True)
        with pytest.raises(InputError, match="input: expected a tensor that requires no gradient"):
            engine(x)
        with torch.no_grad():
            assert torch.equal(engine(x), x.relu())
        assert torch.equal(engine(x.detach()), x.detach().relu())


# What is refused


@pytest.mark.parametrize(
    ("dynamic", "message"),
    [
        ({"x": {0: (1, 2, 4)}}, "dynamic: there is no input 'x'; the inputs are input"),
        ({"input": {2: (1, 2, 4)}}, "dynamic: input: expected {axis: .*} with axes of rank 2 and"),
        ({"input": {0: (4, 2, 8)}}, r"0 < min <= opt <= max, got {0: \(4, 2, 8\)}"),
        ({"input": {0: (0, 2, 8)}}, r"0 < min <= opt <= max, got {0: \(0, 2, 8\)}"),
        ({"input": {0: (1, 2)}}, r"dynamic: input: .*, got {0: \(1, 2\)}"),
        ({"input": {"batch": (1, 2, 4)}}, "dynamic: input: .*, got {'batch'"),
        ({"input": (1, 2, 4)}, r"dynamic: input: .*, got \(1, 2, 4\)"),
    ],
)
def test_dynamic_is_checked(dynamic: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        convert(nn.ReLU().eval(), torch.randn(2, 3), dynamic=dynamic)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: convert(len, torch.randn(2)), "module: expected a torch.nn.Module, got builtin"),
        (lambda: convert(nn.ReLU().eval(), ()), "the arguments do not match forward"),
        (lambda: convert(nn.ReLU().eval(), 3.0), "example_inputs: expected at least one tensor"),
        (lambda: convert(nn.ReLU().eval(), torch.ones(2), shapes={"input": (2,)}), "use dynamic="),
        (lambda: convert(nn.ReLU().eval(), torch.ones(2), exporter="jit"), "exporter: expected"),
    ],
)
def test_arguments_are_checked(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_what_cannot_be_exported_says_so(exporter: str) -> None:
    class Lists(nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return torch.linalg.eig(x)[0].real

    with pytest.raises(
        fasttrt.Error, match=rf'cannot export the module with exporter="{exporter}"'
    ):
        convert(Lists().eval(), torch.randn(3, 3), exporter=exporter)


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The ONNX models that engines are opened with from now on."""
    from fasttrt._torch import torch_module as torch_module

    seen: list[bytes] = []

    class Watched(fasttrt.Engine):
        def __init__(self, model: Any, **options: Any) -> None:
            seen.append(model.read_bytes())
            super().__init__(model, **options)

    monkeypatch.setattr(torch_module, "Engine", Watched)
    return seen


def test_an_opset_can_be_chosen(exported: list[bytes]) -> None:
    import onnx

    convert(nn.ReLU().eval(), torch.randn(3), opset=15).close()
    assert [onnx.load_from_string(model).opset_import[0].version for model in exported] == [15]


def test_tensorrt_rtx_builds_what_is_exported(
    exporter: str, exported: list[bytes], build: Callable[..., fasttrt.Plan]
) -> None:
    dynamic = {"image": {0: (1, 2, 6)}}
    convert(Net().eval(), torch.randn(2, 3, 9, 9), exporter=exporter, dynamic=dynamic).close()
    plan = build(exported[0], shapes={"image": ((1, 3, 9, 9), (2, 3, 9, 9), (6, 3, 9, 9))})
    assert [tensor["shape"] for tensor in plan.metadata["inputs"]] == [[-1, 3, 9, 9]]
    assert [tensor["shape"] for tensor in plan.metadata["outputs"]] == [[-1, 5]]


def test_without_torch() -> None:
    code = """
        import sys
        sys.modules["torch"] = None
        import fasttrt
        try:
            fasttrt.from_torch(None, None)
        except fasttrt.LibraryNotFoundError as error:
            print(error)
    """
    assert python_output(code) == "from_torch() needs PyTorch: pip install torch"


def test_importing_fasttrt_does_not_import_torch() -> None:
    assert python_output("import sys, fasttrt; print('torch' in sys.modules)") == "False"


def test_inputs_in_host_memory_are_not_copied() -> None:
    from fasttrt._torch.arrays import to_array, to_tensor

    for dtype in (torch.float32, torch.bfloat16, torch.int64, torch.float8_e4m3fn):
        tensor = torch.ones(4, 3).to(dtype)
        array = to_array(tensor)
        assert array.ctypes.data == tensor.data_ptr()
        assert array.dtype.name == str(dtype).removeprefix("torch.")
        back = to_tensor(array)
        assert back.data_ptr() == tensor.data_ptr()
        assert back.dtype == dtype
    flipped = torch.randn(3, dtype=torch.complex64).conj().imag  # a view with its sign pending
    np.testing.assert_array_equal(to_array(flipped), flipped.resolve_neg().numpy())
