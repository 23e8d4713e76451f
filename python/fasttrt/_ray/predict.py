"""`predict`: a model over a dataset of Ray, in one line."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
import ray.data

from fasttrt._ray.predictor import Predictor
from fasttrt.errors import InputError


def predict(
    dataset: "ray.data.Dataset | str | os.PathLike[str]",
    model: Any,
    *,
    device: Any = "auto",
    batch_size: int = 256,
    concurrency: int | tuple[int, int] | None = None,
    num_gpus: float | None = None,
    inputs: Mapping[str, str] | None = None,
    outputs: Mapping[str, str] | None = None,
    errors: str | None = None,
    **options: Any,
) -> "ray.data.Dataset":
    """Run a model over a dataset, on all GPUs of the cluster.

    Nothing runs before the result is read, or written as by ``write_parquet``.

    Args:
        dataset: a dataset with a column for each input, or the path of Parquet files.
        model: see `Predictor`. A `Plan` is put into Ray's object store, once a machine.
        device: see `Engine`; ``"cpu"`` takes no GPU.
        batch_size: rows that an actor gets at once.
        concurrency: the number of actors, or the least and the most. None: one for each GPU, or for
            each machine without GPUs.
        num_gpus: of each actor. None: one, if the cluster has GPUs.
        inputs: see `Predictor`, as for the following arguments.
        outputs: the columns of the outputs.
        errors: the column for the errors of rows.
        options: those of `Engine`.

    Raises:
        InputError: ``batch_size`` is not positive.

    Examples:
        <!-- needs: ray -->
        >>> import ray
        >>> rows = ray.data.from_items([{"x": row} for row in x])
        >>> fasttrt.ray.predict(rows, "m.onnx", device="cpu").take(1)[0]["logits"].shape
        (10,)
    """
    if batch_size < 1:
        raise InputError(f"batch_size: expected at least 1, got {batch_size}")
    if isinstance(dataset, (str, os.PathLike)):
        dataset = ray.data.read_parquet(os.fspath(dataset))
    gpus = 0 if device == "cpu" else int(ray.cluster_resources().get("GPU", 0))
    if num_gpus is None:
        num_gpus = 1 if gpus else 0
    if concurrency is None:
        concurrency = int(gpus / num_gpus) if num_gpus else len(ray.nodes())
    is_path = isinstance(model, (str, os.PathLike))
    model = str(Path(model).absolute()) if is_path else ray.put(model)
    arguments = {
        "inputs": inputs,
        "outputs": outputs,
        "errors": errors,
        "device": device,
        **options,
    }
    return dataset.map_batches(
        Predictor, fn_constructor_args=[model], fn_constructor_kwargs=arguments,
        batch_format="numpy", batch_size=batch_size, zero_copy_batch=True,
        num_gpus=num_gpus or None, compute=_pool(concurrency),
    )  # fmt: skip


def _pool(actors: int | tuple[int, int]) -> "ray.data.ActorPoolStrategy":
    if isinstance(actors, int):
        return ray.data.ActorPoolStrategy(size=actors)
    least, most = actors
    return ray.data.ActorPoolStrategy(min_size=least, max_size=most)
