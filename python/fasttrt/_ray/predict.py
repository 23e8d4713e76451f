"""`predict`: a model over a dataset of Ray, in one line."""

import math
import os
from collections.abc import Mapping
from typing import Any

import pyarrow
import ray
import ray.data

from fasttrt._common.checks import is_integer, refuse
from fasttrt._common.dtypes import Cast, check_cast
from fasttrt._engine.engine import Engine
from fasttrt._engine.option_checks import check_sent_options
from fasttrt._ray.actor_gpus import check_gpus
from fasttrt._ray.columns import check_columns, check_errors
from fasttrt._ray.local_path import local_path
from fasttrt._ray.padding import check_padding
from fasttrt._ray.predictor import Predictor

_BLOCK_BYTES = 128 << 20
"""Of Ray's largest blocks, if its settings name no other size."""
_BATCH_BYTES = 16 << 20
_TASKS_IN_FLIGHT = 8
_UNKNOWN_ROWS, _LARGE_ROWS, _MOST_ROWS = 256, 4096, 65536


def predict(
    dataset: "ray.data.Dataset | str | os.PathLike[str]",
    model: Any,
    *,
    device: Any = "auto",
    batch_size: int | None = None,
    concurrency: int | tuple[int, int] | None = None,
    num_gpus: float | None = None,
    inputs: Mapping[str, str] | None = None,
    outputs: Mapping[str, str] | None = None,
    padding: Mapping[str, float] | None = None,
    errors: str | None = None,
    cast: Cast = True,
    **options: Any,
) -> "ray.data.Dataset":
    """Run a model over a dataset, on all GPUs of the cluster.

    Nothing runs before the result is read, or written as by ``write_parquet``.

    Args:
        dataset: a dataset with a column for each input, or the path of Parquet files.
        model: see `Predictor`. Anything that is neither a path nor a reference is put into Ray's
            object store, once per machine.
        device: see `Engine`; ``"cpu"`` takes no GPU. GPUs are numbered as the actor sees them: its
            only one is ``"cuda:0"``.
        batch_size: rows that an actor gets at once, and splits into what the engine takes; Ray
            gives it smaller blocks together. None: as many as have 16 MiB, at least 4096 and at
            most 65536, but no more than a block of Ray holds (128 MiB by default); 256 if the
            dataset does not know the shapes of its columns. Text is not counted.
        concurrency: the number of actors, which all start at once, or the least and the most: Ray
            adds one after the other while rows wait. None: one for each GPU, or for each machine
            without GPUs. Rows are not held back until all have started, unless Ray's
            ``DataContext.wait_for_min_actors_s`` says so. Each takes a CPU if it has no GPU; none
            if all would take half of the cluster's or more, so that there are some for Ray's tasks,
            such as those that read the rows.
        num_gpus: of each actor, a whole number or a share of one GPU, as in 0.5. Ray only counts
            shares, nothing limits an actor's memory. None: one, if the cluster has GPUs.
        inputs: see `Predictor`, as for the following arguments.
        outputs: the columns of the outputs.
        padding: the values that rows of different lengths are padded with.
        errors: the column for the errors of rows.
        cast: whether columns of other types are converted, see `Engine.infer`.
        options: those of `Engine`.

    Raises:
        InputError: an argument is out of range.
        TypeError: `Engine` has no such option.

    Examples:
        <!-- needs: ray -->
        >>> import ray
        >>> rows = ray.data.from_items([{"x": row} for row in x])
        >>> fasttrt.ray.predict(rows, "m.onnx", device="cpu").take(1)[0]["logits"].shape
        (10,)
    """
    _check(dataset, model, batch_size, concurrency)
    # Here rather than in each actor:
    check_columns("inputs", inputs)
    check_columns("outputs", outputs)
    check_padding(padding)
    check_errors(errors)
    check_cast(cast)
    check_sent_options(Engine, {"device": device, **options})
    if isinstance(dataset, (str, os.PathLike)):
        dataset = ray.data.read_parquet(os.fspath(dataset))
    per_actor, actors = _resources({"device": device, **options}, num_gpus)
    if isinstance(model, (str, os.PathLike)):
        model = local_path(model)
    elif not isinstance(model, ray.ObjectRef):
        model = ray.put(model)
    arguments = {
        "inputs": inputs,
        "outputs": outputs,
        "padding": padding,
        "errors": errors,
        "cast": cast,
        "device": device,
        **options,
    }
    rows = batch_size or _rows_at_once(dataset)
    number = concurrency or actors
    return dataset.map_batches(
        Predictor, fn_constructor_args=[model], fn_constructor_kwargs=arguments,
        batch_format="pyarrow", batch_size=rows, zero_copy_batch=True, num_gpus=per_actor or None,
        num_cpus=None if per_actor else _cpus(number), compute=_pool(number, rows),
    )  # fmt: skip


def _check(dataset: Any, model: Any, batch_size: Any, concurrency: Any) -> None:
    if not isinstance(dataset, (ray.data.Dataset, str, os.PathLike)):
        refuse("dataset", "a ray.data.Dataset or the path of Parquet files", dataset)
    if isinstance(model, Engine):
        refuse("model", "what the engine was opened from, as each actor opens its own", model)
    if batch_size is not None and not is_integer(batch_size, 1):
        refuse("batch_size", "an integer >= 1 or None", batch_size)
    numbers = concurrency if isinstance(concurrency, tuple) else (concurrency,)
    is_known = len(numbers) <= 2 and all(is_integer(number, 1) for number in numbers)
    if concurrency is not None and not (is_known and list(numbers) == sorted(numbers)):
        refuse(
            "concurrency", "actors, as in 4, or the least and the most, as in (1, 4)", concurrency
        )


def _resources(options: Mapping[str, Any], num_gpus: Any) -> tuple[float, int]:
    """Return the GPUs of an actor, and how many actors the cluster has room for."""
    taken = check_gpus(options, num_gpus)
    there = 0 if taken == 0 else int(ray.cluster_resources().get("GPU", 0))
    if num_gpus is None:
        num_gpus = 1 if there else 0
    if not num_gpus:
        machines = [node for node in ray.nodes() if node["Alive"]]
        return 0, max(1, len([node for node in machines if node["Resources"].get("CPU")]))
    on_each = int(1 / num_gpus + 1e-6) if num_gpus < 1 else 1 / num_gpus  # actors of a GPU
    return float(num_gpus), max(1, int(there * on_each))


def _cpus(actors: int | tuple[int, int]) -> int | None:
    """Return the CPUs of an actor without a GPU; None: Ray's default, one.

    If actors had all CPUs, the tasks that read their rows would wait for ever. Half leaves some to
    the actors of a second call, too. Without CPUs, they may be on machines that have none.
    """
    there = ray.cluster_resources().get("CPU", 0)
    least = actors[0] if isinstance(actors, tuple) else actors  # others are added where CPUs are
    return 0 if there and 2 * least >= there else None


def _rows_at_once(dataset: "ray.data.Dataset") -> int:
    """Return the rows of a batch, by what the dataset knows of them before it runs.

    Ray's work for a block or batch, some milliseconds, should be little beside its rows. Rows of
    few bytes may take long, too, so that not all of them should go to the first actor.
    """
    schema = dataset.schema(fetch_if_missing=False)
    widths = [None] if schema is None else [_width(kind) for kind in schema.types]
    size = sum(width or 0 for width in widths)
    if not size or None in widths:
        return _UNKNOWN_ROWS
    block = ray.data.DataContext.get_current().target_max_block_size or _BLOCK_BYTES
    wanted = max(_LARGE_ROWS, min(_MOST_ROWS, int(_BATCH_BYTES / size)))
    return max(1, min(wanted, int(block / size)))


def _width(kind: Any) -> float | None:
    """Return the bytes of a value of a column's type in Arrow, None if they vary, 0 for text.

    Ray knows no type of pandas' own ones, as of categories: there it is None itself.
    """
    if kind is None:
        return None
    if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
        return 0
    extents = getattr(kind, "shape", None) or [getattr(kind, "list_size", None)]
    try:
        if not hasattr(kind, "value_type"):
            return float(kind.bit_width) / 8
        inner = _width(kind.value_type)
        return None if inner is None else math.prod(extents) * inner
    except (AttributeError, TypeError, ValueError):  # of several lengths
        return None


def _pool(actors: int | tuple[int, int], rows: int) -> "ray.data.ActorPoolStrategy":
    """Return a pool whose actors run two batches at once: Ray prepares one while the other runs.

    Ray looks for actors that have finished a batch every 0.1 s and gives each four at a time by
    default, which a fast model finishes sooner. Eight short ones keep it busy; long ones, or where
    actors are added later, are left for others.
    """
    least, most = actors if isinstance(actors, tuple) else (actors, actors)
    is_set = ray.data.DataContext.get_current().max_tasks_in_flight_per_actor is not None
    is_short = least == most and rows < _LARGE_ROWS
    return ray.data.ActorPoolStrategy(
        min_size=least, max_size=most, max_concurrent_calls_per_actor=2,
        enable_true_multi_threading=True,
        max_tasks_in_flight_per_actor=_TASKS_IN_FLIGHT if is_short and not is_set else None,
    )  # fmt: skip
