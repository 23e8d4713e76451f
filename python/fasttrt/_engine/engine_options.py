"""The options of `Engine` as types, for functions that pass them on."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypedDict

from fasttrt._common.progress import ProgressCallback
from fasttrt._graph.transforms import Dims, Freeze
from fasttrt._library.device import Device
from fasttrt._library.plugins import Plugins
from fasttrt._plan.build_config import BuildConfig, Precision
from fasttrt._plan.profiles import Shapes
from fasttrt._plan.tuned import Tuned
from fasttrt._runtime.batching import Batching

if TYPE_CHECKING:
    import onnx

    from fasttrt._accuracy.verification import Verify


class FixedShapeOptions(TypedDict, total=False):
    """All options of `Engine` but ``shapes``."""

    device: Device
    devices: Sequence[Device] | None
    library: str | os.PathLike[str]
    precision: Precision | None
    tuned: Tuned | Literal["observed"]
    freeze: Freeze | None
    dims: Dims | None
    config: BuildConfig | None
    contexts: int
    specialization: Literal["auto", "eager", "lazy", "none"]
    cuda_graph: Literal["auto", True, False]
    wait: Literal["auto", "spin", "yield", "block"]
    batching: Batching | None
    max_queue: int | None
    warmup: Literal["auto", True, False]
    plugins: Plugins
    weights: "str | os.PathLike[str] | bytes | onnx.ModelProto | None"
    weight_streaming_budget: int | None
    progress: ProgressCallback | bool | None
    cache: bool | str | os.PathLike[str]
    verify: "Verify"
    isolate: bool | float
    advise: bool


class EngineOptions(FixedShapeOptions, total=False):
    """All options of `Engine`, by the names and types of its parameters."""

    shapes: Shapes | None
