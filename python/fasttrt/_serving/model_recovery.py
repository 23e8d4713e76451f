"""`ModelRecovery`: models whose devices have failed are taken out of service, and opened again."""

import threading
from collections.abc import Iterator

from fasttrt._common.log import logger
from fasttrt._serving.loaded_model import LoadedModel
from fasttrt._serving.model_entry import ModelEntry, Slot
from fasttrt._serving.model_loader import ModelLoader
from fasttrt._serving.model_table import ModelTable
from fasttrt.errors import Error

_RETRY_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
"""How long a model that has failed waits before each attempt to open it again."""


class ModelRecovery:
    """Opens models again in the background, again and again until that succeeds."""

    def __init__(self, table: ModelTable, loader: ModelLoader) -> None:
        """Look after the models of a table."""
        self._table = table
        self._loader = loader

    def report_failure(self, model: LoadedModel, error: BaseException) -> None:
        """Take a model whose run failed with a CUDA error out of service, and open it again.

        Others go on. An engine of somebody else is not opened again.
        """
        with self._table.changed:
            entry = self._table.entries.get(model.name)
            version = None if entry is None else entry.versions.get(model.version)
            if entry is None or version is None or version.slot is None:
                return
            if version.slot.model is not model:
                return  # it was replaced meanwhile
            slot = self._table.take(entry, model.version, "UNAVAILABLE", f"a run failed: {error}")
        logger.error("%s/%s: taken out of service: %s", model.name, model.version, error)
        self._recover(entry, slot)

    def check_health(self) -> None:
        """Call `report_failure` for each model of which a run has failed with a CUDA error."""
        with self._table.changed:
            slots = [slot for slot in self._table.slots() if slot.in_memory]
        for slot in slots:
            try:
                count = slot.model.engine.stats().errors.get("CudaError", 0)
            except Error:
                continue  # it is being closed
            if count > slot.cuda_errors:
                slot.cuda_errors = count
                self.report_failure(slot.model, Error("a CUDA error, see the log"))

    def bring_back(self, entry: ModelEntry, version: str) -> None:
        """Load a version again for the requests that wait for it; see `ModelTable.bring_back`."""
        table, known = self._table, entry.versions[version]
        failed: Slot | None = None
        try:
            with entry.operation:
                with table.changed:
                    slot = known.slot
                if slot is None or slot.in_memory:
                    return
                try:
                    self._loader.load_again(entry, version)
                except Exception as error:
                    logger.error("%s/%s: cannot be loaded again: %s", entry.name, version, error)
                    with table.changed:
                        if known.slot is slot:
                            failed = table.take(entry, version, "UNAVAILABLE", str(error))
        finally:
            with table.changed:
                known.is_returning = False
            table.settle(entry, version)
        if failed is not None:
            self._recover(entry, failed)

    def _recover(self, entry: ModelEntry, failed: Slot) -> None:
        self._table.settle(entry, failed.model.version)
        threading.Thread(
            target=self._reopen, args=(entry, failed), name="fasttrt-reopen", daemon=True
        ).start()

    def _reopen(self, entry: ModelEntry, failed: Slot) -> None:
        try:
            self._table.retire(failed)
        except Error as error:
            logger.warning("%s: %s", entry.name, error)
        if not failed.model.owns_engine:
            return
        for seconds in _repeat_last(_RETRY_SECONDS):
            if self._is_over(entry, seconds):
                return
            with entry.operation:
                if not entry.wanted or entry.versions[failed.model.version].slot is not None:
                    return
                try:
                    self._loader.load(entry, self._loader.files_of(entry), entry.config)
                    return
                except (Error, OSError) as error:
                    logger.error("%s: cannot be opened again: %s", entry.name, error)

    def _is_over(self, entry: ModelEntry, seconds: float) -> bool:
        """Wait, and return whether the model is no longer to be served."""
        changed = self._table.changed
        with changed:
            return changed.wait_for(lambda: self._table.is_closing or not entry.wanted, seconds)


def _repeat_last(values: tuple[float, ...]) -> Iterator[float]:
    yield from values
    while True:
        yield values[-1]
