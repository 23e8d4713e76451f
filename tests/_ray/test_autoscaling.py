"""How many replicas a deployment gets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("ray.serve", reason="Ray Serve is not installed")

from fasttrt._ray.autoscaling import QUEUE_DEPTH, QueueDepthPolicy, autoscaling_config


def wanted(
    replicas: int, *, depths: tuple[float, ...] = (), at_handles: float = 0, ongoing: float = 0
) -> float:
    """What a policy for 8 that run and 4 that wait asks for."""
    by_replica = dict(enumerate(depths))
    context = SimpleNamespace(
        current_num_replicas=replicas, total_num_requests=ongoing,
        total_queued_requests=at_handles, aggregated_metrics={QUEUE_DEPTH: by_replica},
    )  # fmt: skip
    count, remembered = QueueDepthPolicy(target=4, capacity=8)(context)
    assert remembered == {}
    return count


def test_replicas_are_added_for_what_waits() -> None:
    assert wanted(1, depths=(4,), ongoing=10) == 1
    assert wanted(1, depths=(6,), ongoing=14) == 1.5
    assert wanted(2, depths=(6, 6), ongoing=28) == 3
    assert wanted(2, depths=(0, 2), at_handles=8, ongoing=10) == 2.5


def test_replicas_that_are_late_to_tell_are_busy() -> None:
    assert wanted(1, ongoing=20) == 3
    assert wanted(2, ongoing=20) == 2


def test_replicas_are_removed_where_the_others_stay_half_empty() -> None:
    assert wanted(3, depths=(0, 0, 0), ongoing=10) == 2.5  # rounded up by Serve
    assert wanted(3, depths=(0, 0, 0), ongoing=4) == 1
    assert wanted(3, ongoing=0) == 0  # Serve keeps the minimum


def test_the_policy_needs_no_fasttrt(tmp_path: Path) -> None:
    config = autoscaling_config({"max_replicas": 3}, 8)
    assert config.policy.policy_kwargs == {"target": 8, "capacity": 8}
    file = tmp_path / "policy"
    file.write_bytes(config.policy.get_serialized_policy_def())
    program = (
        "import sys, ray.cloudpickle as p;"
        "policy = p.load(open(sys.argv[1], 'rb'))(target=4, capacity=8);"
        "assert not [name for name in sys.modules if name.startswith('fasttrt')];"
        "from types import SimpleNamespace as N;"
        "print(policy(N(current_num_replicas=1, total_num_requests=20, total_queued_requests=None,"
        "aggregated_metrics=None)))"
    )
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    output = subprocess.run(
        [sys.executable, "-c", program, file], env=plain, check=True, capture_output=True, text=True
    ).stdout
    assert output.strip() == "(3.0, {})"


def test_a_policy_of_ones_own_is_kept() -> None:
    default = "ray.serve.autoscaling_policy:default_autoscaling_policy"
    config = autoscaling_config({"policy": {"policy_function": default}, "max_replicas": 3}, 8)
    assert config.policy.policy_function == default


def test_numbers_of_numpy() -> None:
    config = autoscaling_config({"target_queue_depth": np.float32(2.5)}, 8)
    target = config.policy.policy_kwargs["target"]
    assert (target, type(target)) == (2.5, float)
