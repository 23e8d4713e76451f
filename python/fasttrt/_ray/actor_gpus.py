"""How many GPUs an actor of Ray is to have."""

from collections.abc import Mapping
from typing import Any

import ray

from fasttrt._common.checks import is_number, refuse
from fasttrt._library.device import is_auto, parse_devices
from fasttrt.errors import InputError


def check_gpus(options: Mapping[str, Any], num_gpus: Any) -> int | None:
    """Return how many GPUs an engine of these options takes; None: it depends on what is there.

    Args:
        options: those of `Engine`, of which ``device`` and ``devices`` matter.
        num_gpus: what Ray is to give each actor; None: it is not given.

    Raises:
        InputError: one of them is wrong, or they do not go together.
    """
    device, devices = options["device"], options.get("devices")
    is_open = is_auto(device) and devices is None
    ordinals = [] if is_open else parse_devices(device, devices)
    if num_gpus is not None:
        if not is_number(num_gpus) or not (
            0 <= num_gpus <= 1 or (num_gpus > 1 and num_gpus % 1 == 0)
        ):
            refuse("num_gpus", "a whole number, or a share of one GPU as in 0.5", num_gpus)
        if num_gpus and ordinals is None:
            refuse("num_gpus", 'none with device="cpu"', num_gpus)
    return None if is_open else len(ordinals or [])


def replica_gpus(models: "list[Mapping[str, Any]]", num_gpus: float | None) -> float:
    """Return how many GPUs a replica is to have: one for ``"auto"``, if the cluster has any.

    Args:
        models: the options of each engine.
        num_gpus: what was asked for, instead.

    Raises:
        InputError: see `check_gpus`.
    """
    taken = [check_gpus(options, None) for options in models]
    if num_gpus is not None:
        is_on_cpu = not any(count is None or count for count in taken)
        check_gpus({"device": "cpu" if is_on_cpu else "auto"}, num_gpus)
        return float(num_gpus)
    if None in taken and not any(taken):
        return 1 if ray.cluster_resources().get("GPU", 0) else 0
    return max(count or 0 for count in taken)


def check_actor_options(given: Any) -> None:
    """Check the ``ray_actor_options`` that a deployment is given.

    Raises:
        InputError: not a mapping, or it names GPUs.
    """
    if not isinstance(given, Mapping):
        refuse("serve_options: ray_actor_options", "a mapping", given)
    if "num_gpus" in given:
        raise InputError(
            "serve_options: ray_actor_options: expected no num_gpus, which is an argument itself"
        )
