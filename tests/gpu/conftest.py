"""What holds for every test on a GPU."""

from collections.abc import Iterator

import pytest

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
