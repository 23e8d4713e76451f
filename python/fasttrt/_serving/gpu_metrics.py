"""What NVML says of the GPUs, as metrics; nothing where it is not installed, or there is no GPU."""

import threading
from collections.abc import Callable
from typing import Any

from fasttrt._common.log import logger
from fasttrt._common.optional_packages import install_command
from fasttrt._serving.prometheus import Family


class GpuMetrics:
    """Reads the gauges of all GPUs, with ``gpu_uuid`` as their only label."""

    def __init__(self) -> None:
        """Load NVML at the first reading."""
        self._lock = threading.Lock()
        self._nvml: Any = None
        self._gpus: list[tuple[str, Any]] | None = None

    def families(self) -> list[Family]:
        """Read all gauges; those that a GPU does not have are left out."""
        with self._lock:
            if self._gpus is None:
                self._gpus = self._find()
            return [family for family in self._read() if family.samples]

    def to_json(self) -> list[dict[str, Any]]:
        """Return name, UUID and the same values of each GPU, named as they are without ``nv_``."""
        families = self.families()
        gpus: dict[str, dict[str, Any]] = {
            uuid: {"uuid": uuid, "name": str(self._nvml.nvmlDeviceGetName(handle))}
            for uuid, handle in self._gpus or []
        }
        for family in families:
            for _, labels, value in family.samples:
                gpus[labels["gpu_uuid"]][family.name.removeprefix("nv_")] = value
        return list(gpus.values())

    def _find(self) -> list[tuple[str, Any]]:
        try:
            import pynvml
        except ImportError:
            logger.info("no GPU metrics, as NVML is not there: %s", install_command("serve"))
            return []
        try:
            pynvml.nvmlInit()
            handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
            found = [(str(pynvml.nvmlDeviceGetUUID(handle)), handle) for handle in handles]
        except pynvml.NVMLError as error:
            logger.info("no GPU metrics: %s", error)
            return []
        self._nvml = pynvml
        return found

    def _read(self) -> list[Family]:
        n = self._nvml
        families = [
            (
                Family("nv_gpu_utilization", "GPU utilization rate [0.0 - 1.0)", "gauge"),
                lambda gpu: n.nvmlDeviceGetUtilizationRates(gpu).gpu / 100,
            ),
            (
                Family("nv_gpu_memory_total_bytes", "GPU total memory, in bytes", "gauge"),
                lambda gpu: int(n.nvmlDeviceGetMemoryInfo(gpu).total),
            ),
            (
                Family("nv_gpu_memory_used_bytes", "GPU used memory, in bytes", "gauge"),
                lambda gpu: int(n.nvmlDeviceGetMemoryInfo(gpu).used),
            ),
            (
                Family("nv_gpu_power_usage", "GPU power usage in watts", "gauge"),
                lambda gpu: n.nvmlDeviceGetPowerUsage(gpu) / 1000,
            ),
            (
                Family("nv_gpu_power_limit", "GPU power management limit in watts", "gauge"),
                lambda gpu: n.nvmlDeviceGetPowerManagementLimit(gpu) / 1000,
            ),
            (
                Family(
                    "nv_energy_consumption",
                    "GPU energy consumption in joules since the driver was loaded",
                    "counter",
                ),
                lambda gpu: n.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1000,
            ),
        ]
        for family, read in families:
            self._fill(family, read)
        return [family for family, _ in families]

    def _fill(self, family: Family, read: Callable[[Any], float]) -> None:
        for uuid, handle in self._gpus or []:
            try:
                family.add(read(handle), gpu_uuid=uuid)
            except self._nvml.NVMLError:  # this GPU does not tell
                continue
