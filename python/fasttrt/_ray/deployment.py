"""`deployment`: models as an application of Ray Serve."""

import copy
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from fasttrt._common.checks import check_mapping, is_integer, refuse
from fasttrt._common.optional_packages import require
from fasttrt._engine.engine import Engine, options_of
from fasttrt._engine.option_checks import check_sent_options
from fasttrt._engine.recipe import content_size
from fasttrt._plan.plan_file import Plan
from fasttrt._ray.actor_gpus import check_actor_options, replica_gpus
from fasttrt._ray.local_path import local_path
from fasttrt._runtime.batching import Batching
from fasttrt._serving.engine_settings import EngineDefaults
from fasttrt._serving.repository import is_model_name
from fasttrt.errors import InputError

if TYPE_CHECKING:
    from ray import serve

_MOST_BYTES = 100 << 20
_LEAST_ONGOING = 64
_DEFAULT_NAME = "model"
_NAME = "a printable name in ASCII (Ray's metrics take no other) without /"
_ARGUMENTS = (
    "name", "num_replicas", "autoscaling_config", "max_ongoing_requests", "max_queued_requests",
)  # fmt: skip
"""Options of ``serve.deployment`` that are arguments of `deployment`."""


def deployment(
    model: Any,
    *,
    name: str | None = None,
    device: Any = "auto",
    num_replicas: int | None = None,
    num_gpus: float | None = None,
    autoscaling: Mapping[str, Any] | None = None,
    max_ongoing_requests: int | None = None,
    max_queued_requests: int = -1,
    max_models: int = 3,
    serve_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> "serve.Application":
    """Return an application for ``ray.serve.run``, whose replicas open a model each.

    ``await handle.remote(x)`` takes and returns what `Engine.ainfer` does, with its ``cast``,
    ``timeout`` (in seconds, from when the request is at a replica) and ``priority``, and raises its
    errors. Requests that are at a replica at the same time are gathered by ``batching``: use this
    instead of ``serve.batch``. Over HTTP, Serve's proxies answer Triton's protocol (KServe v2), as
    ``fasttrt serve`` does: ``POST /v2/models/NAME/infer``. ``/metrics`` are those of the replica
    that answers.

    Serve replaces replicas with an engine that is closed, or of which a run failed with a CUDA
    error. Replicas that are stopped complete their requests before.

    Args:
        model: what `Engine` takes, or an `Engine`, which is opened again by each replica. A path
            has to lead to the model on all machines; what is in memory is sent with the
            application, up to 100 MiB in all. Larger ones may be references of Ray's object store,
            which new replicas need, too: keep the process that called ``ray.put``.
            A mapping of models by name, or a folder of models in Triton's layout, with names in
            ASCII: replicas open them when a request asks for them, by
            ``handle.options(multiplexed_model_id=NAME)``, or over HTTP by the path. There, the
            header ``serve_multiplexed_model_id: NAME`` lets Serve choose a replica that has the
            model open.
        name: of the deployment, and of a single model over HTTP. None: that of the model's file, or
            "model" if that is not ASCII: Ray's metrics take no other names.
        device: see `Engine`; ``"cpu"`` takes no GPU.
        num_replicas: how many; None: one.
        num_gpus: of each replica, which Ray shows these GPUs only: a whole number, or a share of
            one, as in 0.5. None: as many as ``device`` names; for ``"auto"`` one, if the cluster
            has GPUs.
        autoscaling: fields of Serve's ``AutoscalingConfig``, as ``{"min_replicas": 1,
            "max_replicas": 8}``, instead of ``num_replicas``. Replicas are added while more
            requests than ``target_queue_depth`` times their number wait, in the queues of the
            engines (`EngineStats.queue_depth`) and for a replica; they are removed where the others
            would be half full at most. The default of ``target_queue_depth`` is what a replica runs
            at once: the batches of all contexts.
        max_ongoing_requests: how many requests a replica has at once; others wait where they came
            from. The next batch can only be filled by requests that are there while the one before
            runs. None: twice what a replica runs at once (``contexts`` times ``batching.max_size``,
            for requests of one row), and at least 64, as waiting in an engine's queue costs less
            than in Serve's. Serve's own default is 5.
        max_queued_requests: how many may wait for a replica at each handle and proxy before others
            are refused; -1: any number.
        max_models: of several, how many a replica keeps open. For another one, that which was used
            least recently is closed, once its requests are complete.
        serve_options: further options of ``serve.deployment``, as ``health_check_period_s``,
            ``graceful_shutdown_timeout_s`` and ``ray_actor_options``, but none that has an argument
            here, and no ``user_config``.
        options: those of `Engine`.

    Raises:
        InputError: an option is wrong, or a model in memory is too large.
        MissingPackageError: Ray Serve is not installed.

    Examples:
        <!-- needs: ray -->
        >>> from ray import serve
        >>> serve.start(proxy_location="Disabled")  # no HTTP here
        >>> handle = serve.run(fasttrt.ray.deployment("m.onnx", device="cpu"))
        >>> handle.remote(x).result().shape
        (8, 10)
        >>> serve.delete("default")
    """
    require("fasttrt.ray.deployment", "ray.serve")
    from ray import serve

    from fasttrt._ray.autoscaling import autoscaling_config
    from fasttrt._ray.replica import Replica, multiplexed_replica

    if not is_integer(max_models, 1):
        refuse("max_models", "an integer >= 1", max_models)
    check_mapping("serve_options", serve_options, "a mapping of options")
    given = dict(serve_options or {})
    if taken := [option for option in _ARGUMENTS if option in given]:
        raise InputError(f"serve_options: expected no {taken[0]}, which is an argument itself")
    if "user_config" in given:
        raise InputError("serve_options: expected no user_config, which replicas do not take")
    check_actor_options(given.setdefault("ray_actor_options", {}))
    options = {"device": device, **options}
    check_sent_options(Engine, options)
    models, default_name, is_single = _models(model, options)
    capacity = _capacity(model, options, is_folder=isinstance(models, str))
    name = default_name if name is None else name
    if not _is_name(name) or "#" in name:
        refuse("name", f"{_NAME} and #", name)
    if isinstance(models, Mapping):
        _check_size(models.values())
        models = {name: models[default_name]} if is_single else models

    gpus = replica_gpus(_engines(model, options), num_gpus)
    given["ray_actor_options"] = {"num_gpus": gpus, **given["ray_actor_options"]}
    if autoscaling is not None:
        if num_replicas is not None:
            raise InputError("num_replicas: expected none with autoscaling")
        given["autoscaling_config"] = autoscaling_config(autoscaling, capacity)
    elif num_replicas is not None:
        if not is_integer(num_replicas, 1):
            refuse("num_replicas", "an integer >= 1", num_replicas)
        given["num_replicas"] = int(num_replicas)
    if max_ongoing_requests is None:
        max_ongoing_requests = max(_LEAST_ONGOING, 2 * capacity)
    if not is_integer(max_ongoing_requests, 1):
        refuse("max_ongoing_requests", "an integer >= 1", max_ongoing_requests)
    if not is_integer(max_queued_requests, -1) or not max_queued_requests:
        refuse("max_queued_requests", "an integer >= 1, or -1", max_queued_requests)
    given |= {
        "name": name,
        "max_ongoing_requests": max_ongoing_requests,
        "max_queued_requests": max_queued_requests,
    }
    kind = Replica if is_single else multiplexed_replica(max_models)
    try:
        made = serve.deployment(**given)(kind)
    except (TypeError, ValueError) as error:  # all else is checked above
        raise InputError(f"serve_options: {error}") from None
    return made.bind(models, options)


def _models(model: Any, options: Mapping[str, Any]) -> tuple[Mapping[str, Any] | str, str, bool]:
    """Return the models of replicas, a name, and whether it is the single model's.

    Raises:
        InputError: it is none.
    """
    if isinstance(model, Mapping):
        for name in model:
            if not _is_name(name):
                refuse("model", f"models by names, each {_NAME}", name)
        if not model:
            raise InputError("model: expected a model, got an empty mapping")
        return {name: _sent(one, options) for name, one in model.items()}, "fasttrt", False
    if isinstance(model, str) and not model:  # else it would be the current folder
        refuse("model", "a path", model)
    if isinstance(model, (str, os.PathLike)) and Path(model).is_dir():
        return local_path(model), "fasttrt", False
    name = Path(model).stem if isinstance(model, (str, os.PathLike)) else _DEFAULT_NAME
    name = name if name.isascii() else _DEFAULT_NAME
    return {name: _sent(model, options)}, name, True


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and is_model_name(name) and name.isascii()


def _sent(model: Any, options: Mapping[str, Any]) -> Any:
    """Return a model as it is sent to replicas.

    Raises:
        InputError: it is none, or an engine that has options.
    """
    if isinstance(model, Engine):
        if given := [
            name for name, value in options.items() if (name, value) != ("device", "auto")
        ]:
            raise InputError(f"{given[0]}: expected no option with an Engine, which has its own")
        return copy.copy(model)  # not opened: how to open it
    if isinstance(model, (str, os.PathLike)):
        return local_path(model)
    if isinstance(model, ray.ObjectRef):
        return model
    if isinstance(model, (bytes, memoryview)):
        return model if memoryview(model).nbytes > _MOST_BYTES else bytes(model)
    if not isinstance(model, Plan) and not hasattr(model, "SerializeToString"):
        refuse("model", "a path, bytes, a ModelProto, a Plan, an Engine or a mapping", model)
    return model


def _check_size(models: Iterable[Any]) -> None:
    """Check what is sent with an application, and kept with it.

    Raises:
        InputError: it is too much.
    """
    size = sum(map(content_size, models))
    if size > _MOST_BYTES:
        raise InputError(
            f"model: {size} bytes are too many to be sent with the application, which takes "
            f"{_MOST_BYTES}: save them where all machines find them and give paths, or give "
            "references of ray.put, and keep this process"
        )


def _capacity(model: Any, options: Mapping[str, Any], *, is_folder: bool) -> int:
    """Return how many requests a replica runs at once: of a row each, and of all models' most."""
    return max(_runs(own, is_folder=is_folder) for own in _engines(model, options))


def _engines(model: Any, options: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the options of each model's engine."""
    models = model.values() if isinstance(model, Mapping) else [model]
    return [options_of(one) if isinstance(one, Engine) else options for one in models]


def _runs(own: Mapping[str, Any], *, is_folder: bool) -> int:
    """Return how many rows an engine of these options runs at once."""
    batching, contexts = own.get("batching"), own.get("contexts", 2)
    rows = EngineDefaults().max_batch_size if is_folder and "batching" not in own else 1
    if isinstance(batching, Batching):
        rows = batching.max_size
    return rows * int(contexts)
