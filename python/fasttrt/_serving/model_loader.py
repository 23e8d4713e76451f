"""`ModelLoader`: opens the versions of a model, in place of those before, and closes them."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from fasttrt._common.input_file import Version
from fasttrt._graph.model import OnnxModel
from fasttrt._plan.plan_file import is_plan_file
from fasttrt._serving.engine_memory import EngineMemory, bytes_of
from fasttrt._serving.engine_settings import EngineDefaults
from fasttrt._serving.errors import UnknownModelError
from fasttrt._serving.loaded_model import LoadedModel, find_config, load_version
from fasttrt._serving.model_config import ModelConfig
from fasttrt._serving.model_entry import ModelEntry, Slot, VersionEntry
from fasttrt._serving.model_source import ModelSource, SourceFiles
from fasttrt._serving.model_table import ModelTable
from fasttrt._serving.repository import ModelFolder, is_version
from fasttrt.errors import Error, InputError

Config = tuple[ModelConfig, str]
"""A model's configuration, and where it is from, see `find_config`."""


class ModelLoader:
    """Loads and unloads versions of a table's models; who calls it holds the entry's operation."""

    def __init__(
        self,
        table: ModelTable,
        source: ModelSource | None,
        defaults: EngineDefaults,
        memory: EngineMemory,
    ) -> None:
        """Take what models are loaded from, and with.

        Args:
            table: where they are put.
            source: where they are from; None: only from load requests.
            defaults: options of engines.
            memory: what engines share.
        """
        self._table = table
        self._source = source
        self._defaults = defaults
        self._memory = memory

    def files_of(self, entry: ModelEntry) -> SourceFiles:
        """Return the files that a model was loaded from.

        Raises:
            UnknownModelError: they are no longer there.
        """
        if entry.upload is not None:
            root = Path(entry.upload.name).resolve()
            return ModelFolder(entry.name, root, root / entry.name)
        if self._source is None:
            raise UnknownModelError(f"Request for unknown model: {entry.name!r} is not found")
        return self._source.folder(entry.name)

    def load(self, entry: ModelEntry, files: SourceFiles, json: str | None) -> None:
        """Load the versions that are wanted, then unload the others.

        Args:
            entry: the model.
            files: its files.
            json: the configuration of a load request, or None.

        Raises:
            InputError: some cannot be loaded; the message says why.
            OSError: a file cannot be read.
        """
        state = files.state()
        with self._table.changed:
            entry.wanted, entry.tried = True, state
        try:
            config = find_config(files, json)
            wanted = config[0].version_policy.choose(files.versions())
            if not wanted:
                raise InputError(
                    f"at least one version must be available under the version policy of model "
                    f"'{entry.name}'"
                )
        except (Error, OSError) as error:
            entry.reason = str(error)
            raise
        entry.reason = ""
        problems = []
        for version in wanted:
            try:
                self._load_version(entry, version, files, state, config)
            except (Error, OSError) as error:
                problems.append(f"version {version} is at UNAVAILABLE state: {error};")
        if problems:
            raise InputError(f"load failed for model '{entry.name}': " + " ".join(problems))
        for version in set(entry.versions) - set(wanted):
            self.remove(entry, version, "not among the versions of its version policy")

    def load_again(self, entry: ModelEntry, version: str) -> None:
        """Bring a version back to memory, from its files as they are now.

        Raises:
            Error, OSError: it cannot be loaded.
        """
        files = self.files_of(entry)
        self._load_version(entry, version, files, files.state(), find_config(files, entry.config))

    def unload(self, entry: ModelEntry, drain: bool = True) -> None:
        """Unload all versions."""
        with self._table.changed:
            entry.wanted, entry.config = False, None
        for version in list(entry.versions):
            self.remove(entry, version, "unloaded", drain)
        if entry.upload is not None:
            entry.upload.cleanup()
            entry.upload = None

    def remove(self, entry: ModelEntry, version: str, reason: str, drain: bool = True) -> None:
        """Unload a version; ``reason`` is for the index."""
        known = entry.versions[version]
        with self._table.changed:
            slot = known.slot
            if slot is None:
                known.state, known.reason = "UNAVAILABLE", reason
                return
            self._table.take(entry, version, "UNLOADING", "")
        self._table.settle(entry, version)
        self._table.retire(slot, drain)
        with self._table.changed:
            known.state, known.reason = "UNAVAILABLE", reason

    def _load_version(
        self,
        entry: ModelEntry,
        version: str,
        files: SourceFiles,
        state: Mapping[str, Version],
        config: Config,
    ) -> None:
        """Load a version unless what it is made of is unchanged; the one before drains then."""
        table = self._table
        file = files.model_file(version, config[0])
        made_of = (config[0], str(file), {
            name: facts
            for name, facts in state.items()
            if not is_version(name.split("/")[0]) or name.startswith(f"{version}/")
        })  # fmt: skip
        with table.changed:
            known = entry.versions.setdefault(version, VersionEntry())
            old = known.slot
            is_same = old is not None and old.made_of == made_of
            if is_same and old is not None and old.in_memory:
                return
            if old is None:
                known.state, known.reason = "LOADING", ""
        try:
            expected = 0
            if self._memory.is_limited:
                expected = known.bytes if is_same else _file_bytes(file)
            load = partial(load_version, files, version, *config, self._defaults)
            self._open(entry, version, made_of, expected, load)
        except BaseException as error:
            with table.changed:
                if known.slot is None:
                    known.state, known.reason = "UNAVAILABLE", str(error)
            raise
        table.settle(entry, version)
        if old is not None:
            table.retire(old)
        self._memory.trim()

    def _open(
        self,
        entry: ModelEntry,
        version: str,
        made_of: Any,
        expected: int,
        load: Callable[[], LoadedModel],
    ) -> None:
        """Open an engine, and let the version have it."""
        what = f"{entry.name}/{version}"
        with self._memory.room(what, expected) as room:
            model = load()
            try:
                size = bytes_of(model)
                self._memory.check(what, size)
                with self._table.changed:
                    if self._table.is_closing:
                        raise Error("the server is being closed")
                    room.release()
                    self._table.put(entry, version, Slot(model, made_of))
                    entry.versions[version].bytes = size
            except BaseException:
                model.engine.close()
                raise


def _file_bytes(file: Path) -> int:
    """Return about how much memory a model takes that was never loaded: its weights'."""
    size = file.stat().st_size
    return size if is_plan_file(file) else size + OnnxModel(file, later=True).external_bytes
