"""What holds for every test on a GPU."""

from collections.abc import Iterator

import pytest

import fasttrt
from support.gpu import EXACT
from support.models import Model, mlp


@pytest.fixture(scope="package", autouse=True)
def _all_of_float32() -> Iterator[None]:
    """What TensorRT-RTX heeds for ``tf32=False``, where it builds and where it runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NVIDIA_TF32_OVERRIDE", "0")
        yield


@pytest.fixture(scope="module")
def mlp_model() -> Model:
    """Three layers of matrix products, new for each file."""
    return mlp()


@pytest.fixture(scope="module")
def plan(request: pytest.FixtureRequest, mlp_model: Model) -> fasttrt.Plan:
    """``mlp_model`` built for the ``SHAPES`` of the file."""
    return fasttrt.build(mlp_model.proto, EXACT, shapes=request.module.SHAPES, device="cuda")
