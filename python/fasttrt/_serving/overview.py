"""The state of everything at once, for those who look at it: `fasttrt top` and the web page."""

import contextlib
import time
from typing import TYPE_CHECKING, Any

from fasttrt._serving.gpu_metrics import GpuMetrics
from fasttrt._serving.metadata import server_metadata
from fasttrt._serving.model_entry import ModelState, Slot
from fasttrt._serving.request_counters import LATENCY_BOUNDS_NS
from fasttrt._serving.statistics import Statistics
from fasttrt.errors import Error

if TYPE_CHECKING:
    from fasttrt._serving.loaded_model import LoadedModel
    from fasttrt._serving.models import Models


class Overview:
    """Tells sums since each model was loaded; whoever looks takes the differences of two of them.

    So it costs nothing while nobody looks, and any number of people may.
    """

    def __init__(self, models: "Models", statistics: Statistics, gpus: GpuMetrics) -> None:
        """Tell of these models and GPUs."""
        self._models = models
        self._statistics = statistics
        self._gpus = gpus
        self._started = time.time()
        self._began = time.monotonic()

    def to_json(self, *, draining: bool) -> dict[str, Any]:
        """Return everything as JSON values; the OpenAPI description says what each is."""
        server = server_metadata()
        with self._models.changed:
            slots = {(slot.model.name, slot.model.version): slot for slot in self._models.slots()}
        return {
            "server": {"name": server["name"], "version": server["version"]},
            "started": self._started,
            "uptime_seconds": time.monotonic() - self._began,
            "ready": self._models.is_ready() and not draining,
            "model_control": self._models.control,
            "latency_bounds_us": [bound / 1000 for bound in LATENCY_BOUNDS_NS],
            "models": [
                self._model(state, slots.get((state.name, state.version)))
                for state in self._models.index()
            ],
            "gpus": self._gpus.to_json(),
        }

    def _model(self, state: ModelState, slot: Slot | None) -> dict[str, Any]:
        found: dict[str, Any] = {
            "name": state.name,
            "version": state.version,
            "state": state.state or "UNLOADED",
            "reason": state.reason,
        }
        if slot is not None:
            with contextlib.suppress(Error):  # it is being closed
                found |= self._loaded(slot.model, slot.in_memory)
        return found

    def _loaded(self, model: "LoadedModel", in_memory: bool) -> dict[str, Any]:
        totals = self._statistics.totals(model)
        requests = totals.requests
        return {
            "platform": model.platform,
            "device": model.engine.device,
            "in_memory": in_memory,
            "max_batch_size": model.config.max_batch_size or 0,
            "load_seconds": model.load_seconds,
            "requests": requests.success,
            "failures": dict(requests.failures),
            "rows": requests.rows,
            "executions": totals.executions,
            "pending": totals.pending,
            "queue_ns": totals.queue_ns,
            "request_ns": requests.success_ns,
            "latency": requests.latency,
            "batch_sizes": {str(rows): runs for rows, (runs, _) in totals.batches.items()},
            "memory": dict(totals.memory) if in_memory else {},
            "last_inference": requests.last_ms,
        }
