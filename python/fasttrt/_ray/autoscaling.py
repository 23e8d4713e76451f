"""How many replicas a deployment of Ray Serve gets: by the depth of its engines' queues."""

from collections.abc import Mapping
from typing import Any

from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

from fasttrt._common.checks import check_mapping, is_number, refuse
from fasttrt.errors import InputError

QUEUE_DEPTH = "fasttrt_queue_depth"
"""What replicas tell Ray Serve: the requests that wait for their engines."""
_TARGET = "target_queue_depth"


def autoscaling_config(given: Mapping[str, Any], capacity: int) -> AutoscalingConfig:
    """Return Ray Serve's configuration.

    Args:
        given: fields of ``AutoscalingConfig``, and ``target_queue_depth``.
        capacity: the requests that a replica runs at once; the default of ``target_queue_depth``.

    Raises:
        InputError: a field is unknown, or has a wrong value.
    """
    check_mapping("autoscaling", given, "a mapping")
    fields = dict(given)
    target = fields.pop(_TARGET, capacity)
    if not is_number(target) or not float(target) > 0:
        refuse(f"autoscaling: {_TARGET}", "a positive number", target)
    if unknown := sorted(fields.keys() - AutoscalingConfig.model_fields.keys()):
        known = [*sorted(AutoscalingConfig.model_fields), _TARGET]
        refuse("autoscaling", f"fields of {known}", unknown[0])
    policy = AutoscalingPolicy(
        policy_function=QueueDepthPolicy,
        policy_kwargs={"target": float(target), "capacity": capacity},
    )
    try:
        return AutoscalingConfig(**{"policy": policy, **fields})
    except ValueError as error:
        raise InputError(f"autoscaling: {error}") from error


class QueueDepthPolicy:
    """A policy for ``AutoscalingConfig``.

    Ray sends it with its code: Serve's controller, which calls it, may be on a machine without
    fasttrt. So it uses nothing of fasttrt but the constant above.
    """

    def __init__(self, target: float, capacity: int) -> None:
        """Keep two limits.

        Args:
            target: the requests that may wait for each replica.
            capacity: the requests that a replica runs at once.
        """
        self._target = target
        self._capacity = capacity

    def __call__(self, context: Any) -> tuple[float, dict[str, Any]]:
        """Return how many replicas there should be, and what to remember, which is nothing.

        As many more as the requests that wait exceed the target; as many less as leaves the others
        at most half full. Serve applies its limits and delays to that.
        """
        replicas = context.current_num_replicas
        ongoing = context.total_num_requests
        depths = (context.aggregated_metrics or {}).get(QUEUE_DEPTH, {})
        waiting = sum(depths.values()) + (context.total_queued_requests or 0)
        # Busy replicas may be late to tell: what they cannot run waits, too.
        waiting = max(waiting, ongoing - replicas * self._capacity)
        if waiting > self._target * replicas:
            return waiting / self._target, {}
        return min(replicas, ongoing / (self._capacity / 2)), {}
