"""`LoadedModel`: one version of a model, ready to run; and how one is loaded."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from fasttrt._common.log import logger
from fasttrt._engine.engine import Engine
from fasttrt._plan.plan_file import is_plan_file
from fasttrt._serving.config_reader import parse_config, read_config
from fasttrt._serving.engine_settings import EngineDefaults, engine_options
from fasttrt._serving.model_config import ModelConfig
from fasttrt._serving.model_warmup import warm_up
from fasttrt._serving.served_tensor import ServedTensorSpec, complete, served
from fasttrt.errors import Error, InputError


class ModelFiles(Protocol):
    """The files of a model, see `ModelFolder`."""

    @property
    def name(self) -> str:
        """The model's name."""
        ...

    @property
    def config(self) -> Path | None:
        """Its ``config.pbtxt``, if there is one."""
        ...

    @property
    def options(self) -> Path | None:
        """Its ``fasttrt.toml``, if there is one."""
        ...

    def versions(self) -> tuple[str, ...]:
        """Return all versions, ascending."""
        ...

    def model_file(self, version: str, config: ModelConfig) -> Path:
        """Return the file of a version."""
        ...

    def labels(self, file: str) -> tuple[str, ...]:
        """Read a file of labels."""
        ...

    def inside(self, file: str) -> Path:
        """Return the path of another file of the model."""
        ...


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A version of a model, ready to run.

    Attributes:
        name: The model's name.
        version: The version, a number as text.
        engine: What runs it.
        config: Its configuration, complete.
        inputs: The engine's inputs as clients see them, in the engine's order.
        outputs: The engine's outputs, in the engine's order.
        labels: The labels of classes, by output.
        load_seconds: How long it took to load.
        owns_engine: Whether the engine is closed when the model is unloaded.
        max_queue: How many requests may wait for it; None for any number.
    """

    name: str
    version: str
    engine: Engine
    config: ModelConfig
    inputs: tuple[ServedTensorSpec, ...]
    outputs: tuple[ServedTensorSpec, ...]
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    load_seconds: float = 0.0
    owns_engine: bool = True
    max_queue: int | None = None

    @property
    def platform(self) -> str:
        """Triton's name of what it is, as in ``"onnxruntime_onnx"``."""
        return self.config.platform

    @classmethod
    def of_engine(cls, name: str, engine: Engine) -> "LoadedModel":
        """Return an engine of somebody else as version 1 of a model.

        Raises:
            InputError: a tensor's type is none of the protocol's.
        """
        config = ModelConfig(name=name, platform="onnxruntime_onnx", backend="onnxruntime")
        return _loaded(name, "1", engine, config, name, owns_engine=False)


def find_config(files: ModelFiles, json: str | None) -> tuple[ModelConfig, str]:
    """Return a model's configuration as it is given, and where it is from, for messages.

    Args:
        files: the model's.
        json: that of a load request, which replaces the file's; or None.

    Raises:
        InputError: it is malformed, says what is not supported, or names another model.
        OSError: it cannot be read.
    """
    path = files.config
    where = f"{files.name}/config.pbtxt"
    if json is not None:
        config, where = parse_config(json), "config"
    elif path is not None:
        try:
            config = read_config(path)
        except InputError as error:
            raise InputError(f"{files.name}/{error}") from None
    else:
        config = ModelConfig()
    if config.name not in ("", files.name):
        raise InputError(f"{where}: name: expected {files.name!r}, got {config.name!r}")
    size = config.max_batch_size
    if size is None and any(tensor.dims for tensor in (*config.inputs, *config.outputs)):
        size = 0  # the dims are complete, then
        if config.dynamic_batching is not None:
            raise InputError(f"{where}: dynamic_batching: expected a max_batch_size >= 1 with it")
    return replace(config, name=files.name, max_batch_size=size), where


def load_version(
    files: ModelFiles, version: str, config: ModelConfig, where: str, defaults: EngineDefaults
) -> LoadedModel:
    """Open the engine of a version, which may build it, and run the warm-up requests.

    Args:
        files: the model's.
        version: which one.
        config: as it is given, see `find_config`.
        where: where it is from, for messages.
        defaults: options of engines.

    Raises:
        Error: the model cannot be loaded; the message says why.
        OSError: a file cannot be read.
    """
    begin = time.perf_counter()
    file = files.model_file(version, config)
    platform = "tensorrt_plan" if is_plan_file(file) else "onnxruntime_onnx"
    if config.platform not in ("", platform):
        raise InputError(
            f"{where}: platform: expected {platform} for {file.name}, got {config.platform}"
        )
    backend = config.backend or platform.split("_")[0]
    config = replace(
        config, platform=platform, backend=backend, default_model_filename=file.name
    )  # fmt: skip
    labels = {
        output.name: files.labels(output.label_filename)
        for output in config.outputs
        if output.label_filename
    }
    options = engine_options(file, config, files.options, defaults, where)
    engine = Engine(file, **options)
    try:
        model = _loaded(files.name, version, engine, config, where, labels=labels)
        warm_up(model, files)
    except BaseException:
        engine.close()
        raise
    seconds = time.perf_counter() - begin
    logger.info("%s/%s: loaded on %s in %.1f s", files.name, version, engine.device, seconds)
    return replace(model, load_seconds=seconds, max_queue=options.get("max_queue"))


def _loaded(
    name: str,
    version: str,
    engine: Engine,
    config: ModelConfig,
    where: str,
    labels: Mapping[str, tuple[str, ...]] | None = None,
    owns_engine: bool = True,
) -> LoadedModel:
    config = complete(config, engine.inputs, engine.outputs, where)
    if not engine.inputs:
        raise Error(f"{name}/{version}: expected a model with inputs, got one without")
    size = config.max_batch_size or 0
    return LoadedModel(
        name,
        version,
        engine,
        config,
        served(config.inputs, engine.inputs, size),
        served(config.outputs, engine.outputs, size),
        labels or {},
        owns_engine=owns_engine,
    )
