"""The metrics of Triton's names, types and labels."""

import functools
import itertools
from typing import TYPE_CHECKING

from fasttrt import _core
from fasttrt._serving.gpu_metrics import GpuMetrics
from fasttrt._serving.prometheus import CONTENT_TYPE, Family, exposition
from fasttrt._serving.request_counters import LATENCY_BOUNDS_NS, REASONS
from fasttrt._serving.statistics import Statistics

if TYPE_CHECKING:
    from fasttrt._serving.loaded_model import LoadedModel
    from fasttrt._serving.models import Models

__all__ = ["CONTENT_TYPE", "Metrics"]


class Metrics:
    """Everything that ``/metrics`` shows."""

    def __init__(self, models: "Models", statistics: Statistics, gpus: GpuMetrics) -> None:
        """Show these models and GPUs."""
        self._models = models
        self._statistics = statistics
        self._gpus = gpus

    def text(self) -> str:
        """Return all metrics in Prometheus' text format."""
        models = _Models()
        for model in self._models.ready_models():
            models.add(model, self._statistics)
        return exposition([*models.families, *self._gpus.families()])


@functools.cache
def _gpu(device: str) -> dict[str, str]:
    """Return the label of an engine's GPU; none on the CPU, or for several GPUs."""
    kind, _, ordinal = device.partition(":")
    if kind != "cuda" or not ordinal.isdigit():
        return {}
    return {"gpu_uuid": _core.device_info(int(ordinal)).uuid}


class _Models:
    """The metrics of models, labelled with their names and versions."""

    def __init__(self) -> None:
        self.families: list[Family] = []
        self._success = self._counter("request_success", "Number of successful inference requests")
        self._failure = self._counter("request_failure", "Number of failed inference requests")
        self._count = self._counter("count", "Number of inferences, each element of a batch is one")
        self._executions = self._counter("exec_count", "Number of model executions")
        self._durations = [
            self._counter(f"{name}_duration_us", f"Cumulative duration of {what} in microseconds")
            for name, what in (
                ("request", "inference requests"),
                ("queue", "requests in the queue"),
                ("compute_input", "input processing"),
                ("compute_infer", "inference"),
                ("compute_output", "output processing"),
            )
        ]
        self._pending = Family(
            "nv_inference_pending_request_count", "Number of requests that wait", "gauge"
        )
        self._load = Family(
            "nv_model_load_duration_secs", "Duration of loading the model in seconds", "gauge"
        )
        self._latency = Family(
            "fasttrt_request_latency_seconds",
            "Time from a request's last byte to its answer, of successful ones",
            "histogram",
        )
        self.families += [self._pending, self._load, self._latency]

    def _counter(self, name: str, what: str) -> Family:
        family = Family(f"nv_inference_{name}", what, "counter")
        self.families.append(family)
        return family

    def add(self, model: "LoadedModel", statistics: Statistics) -> None:
        """Add the samples of a model."""
        totals = statistics.totals(model)
        labels = {"model": model.name, "version": model.version} | _gpu(model.engine.device)
        requests = totals.requests
        self._success.add(requests.success, **labels)
        for reason in REASONS:
            self._failure.add(requests.failures[reason], reason=reason, **labels)
        self._count.add(requests.rows, **labels)
        self._executions.add(totals.executions, **labels)
        spent = (requests.success_ns, totals.queue_ns, *totals.compute_ns)
        for family, ns in zip(self._durations, spent, strict=True):
            family.add(ns // 1000, **labels)
        self._pending.add(totals.pending, **labels)
        self._load.add(model.load_seconds, **labels)
        self._latency.add_histogram(
            _octaves(requests.latency), sum(requests.latency), requests.success_ns / 1e9, **labels
        )


def _octaves(latency: list[int]) -> list[tuple[float, int]]:
    """Return powers of two of time, in seconds, each with the number of requests up to it."""
    sums = itertools.accumulate(latency)
    return [
        (bound / 1e9, below)
        for bound, below in zip(LATENCY_BOUNDS_NS, sums, strict=False)
        if bound & (bound - 1) == 0
    ]
