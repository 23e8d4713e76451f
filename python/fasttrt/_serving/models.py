"""`Models`: the models of a server; loading, replacing and unloading them while requests run."""

from collections.abc import Mapping
from typing import Literal

from fasttrt._common.checks import refuse, shown
from fasttrt._common.log import logger
from fasttrt._engine.engine import Engine
from fasttrt._serving.engine_memory import EngineMemory
from fasttrt._serving.engine_settings import EngineDefaults
from fasttrt._serving.errors import (
    ModelControlError,
    UnknownModelError,
    UnsupportedRequestError,
)
from fasttrt._serving.loaded_model import LoadedModel
from fasttrt._serving.model_entry import ModelEntry, ModelState, Slot, VersionEntry
from fasttrt._serving.model_loader import ModelLoader
from fasttrt._serving.model_recovery import ModelRecovery
from fasttrt._serving.model_source import ModelSource, SourceFiles, uploaded
from fasttrt._serving.model_table import ModelTable
from fasttrt._serving.parallel_load import load_all
from fasttrt._serving.repository import is_model_name
from fasttrt.errors import Error, InputError


class Models(ModelTable):
    """The models of a server. Its methods may be called from several threads at once."""

    def __init__(
        self,
        source: ModelSource | None = None,
        *,
        defaults: EngineDefaults | None = None,
        control: Literal["none", "poll", "explicit"] = "none",
        allow_files: bool = False,
        memory_budget: int | None = None,
    ) -> None:
        """Know a source's models; none is loaded yet.

        Args:
            source: where models are from; None if only engines are added.
            defaults: options of engines.
            control: whether clients may load and unload (``"explicit"``).
            allow_files: whether load requests may bring files of their own.
            memory_budget: the bytes that the engines of the source may take together, see
                `EngineMemory`; None for no limit.
        """
        super().__init__()
        self._source = source
        self._control: Literal["none", "poll", "explicit"] = control
        self._allow_files = allow_files
        self._is_started = source is None
        self._memory = EngineMemory(self, memory_budget)
        self._loader = ModelLoader(self, source, defaults or EngineDefaults(), self._memory)
        self._recovery = ModelRecovery(self, self._loader)
        self.bring_back = self._recovery.bring_back

    @property
    def control(self) -> Literal["none", "poll", "explicit"]:
        """Who loads and unloads models after the start."""
        return self._control

    def add_engine(self, name: str, engine: Engine) -> None:
        """Serve an engine of somebody else, who closes it, as version 1 of a model.

        Raises:
            InputError: the name is taken, or the protocol lacks a type of the engine's.
        """
        slot = Slot(LoadedModel.of_engine(name, engine), None)
        with self.changed:
            if name in self.entries and self.entries[name].wanted:
                raise InputError(f"{name}: expected a name that is not in use")
            entry = self.entries[name] = ModelEntry(name)
            entry.versions["1"] = VersionEntry()
            self.put(entry, "1", slot)

    def start(self, names: "list[str] | None" = None) -> dict[str, Error]:
        """Load the models that are to be served from the start, several at once.

        Args:
            names: which ones; None: all of the source.

        Returns:
            The error of each model that could not be loaded.
        """
        if names is None:
            names = [] if self._source is None else list(self._source.names())
        with self.changed:
            for name in names:
                self.entries.setdefault(name, ModelEntry(name))

        errors = load_all(names, lambda name: self._load(name, None, None))
        self._is_started = True
        return errors

    def index(self) -> list[ModelState]:
        """Return the state of every version, and every model that is not loaded."""
        names = () if self._source is None else self._source.names()
        with self.changed:
            states = [state for entry in self.entries.values() for state in entry.states()]
        known = {state.name for state in states}
        states += [ModelState(name) for name in names if name not in known]
        return sorted(states, key=lambda state: (state.name, int(state.version or 0)))

    def is_ready(self) -> bool:
        """Return whether each model that is to be served has a version that is ready."""
        with self.changed:
            return self._is_started and not self.is_closing and all(
                entry.latest() is not None for entry in self.entries.values() if entry.wanted
            )  # fmt: skip

    def load(
        self, name: str, config: str | None = None, files: Mapping[str, bytes] | None = None
    ) -> None:
        """Load a model, or load it again if its files have changed, and return when it is ready.

        Versions that are ready stay so until the new ones are, and if these fail.

        Args:
            name: the model's.
            config: a configuration in JSON, instead of the file's.
            files: contents by path, as in ``"1/model.onnx"``, instead of the repository's files.

        Raises:
            ModelControlError: the server does not let clients load models.
            UnsupportedRequestError: it lets them bring no files.
            InputError: the model is unknown, or cannot be loaded; the message says why.
        """
        self._check_control()
        if files and not self._allow_files:
            raise UnsupportedRequestError(
                "load: files of a request are not accepted; the server allows them with "
                "--allow-model-files"
            )
        if files and config is None:
            raise InputError("load: expected a config with the files, got none")
        self._load(name, config, files or None)

    def unload(self, name: str) -> None:
        """Unload all versions of a model, and return when no request uses them any more.

        Raises:
            ModelControlError: the server does not let clients unload models.
            UnknownModelError: there is no such model.
        """
        self._check_control()
        self.remove(name)

    def remove(self, name: str) -> None:
        """Do the same for the program itself, whatever clients may do.

        Raises:
            UnknownModelError: there is no such model.
        """
        with self.changed:
            entry = self.entry(name)
        with entry.operation:
            self._loader.unload(entry)

    def report_failure(self, model: LoadedModel, error: BaseException) -> None:
        """Take a model out of service whose run failed with a CUDA error; see `ModelRecovery`."""
        self._recovery.report_failure(model, error)

    def check_health(self) -> None:
        """Look after engines: those that have failed, and how much memory all of them take."""
        self._recovery.check_health()
        self._memory.trim()

    def poll(self) -> None:
        """Load and unload what has changed in the source since it was last looked at."""
        if self._source is None:
            return
        names = set(self._source.names())
        with self.changed:
            gone = [e for e in self.entries.values() if e.wanted and e.name not in names]
        for entry in gone:
            logger.info("%s: unloaded, as it is no longer in the repository", entry.name)
            with entry.operation:
                self._loader.unload(entry)
        for name in sorted(names):
            with self.changed:
                entry = self.entries.setdefault(name, ModelEntry(name))
            try:
                state = self._source.folder(name).state()
                if state == entry.tried:
                    continue
                if state != entry.seen:  # they may be being written
                    entry.seen = state
                    continue
                self._load(name, None, None)
            except (Error, OSError) as error:
                logger.error("%s: %s", name, error)

    def stop_ready(self) -> None:
        """Let `is_ready` return False from now on, before the server closes."""
        with self.changed:
            self.is_closing = True
            self.changed.notify_all()

    def close(self, drain: bool = True, timeout: float = -1) -> None:
        """Unload everything; engines of others stay open.

        Args:
            drain: whether to run the requests that wait.
            timeout: how many seconds to wait for a model that is being loaded, which is then left
                to the end of the process; -1: as long as it takes.
        """
        self.stop_ready()
        with self.changed:
            entries = list(self.entries.values())
        for entry in entries:
            if entry.operation.acquire(timeout=timeout):
                try:
                    self._loader.unload(entry, drain)
                finally:
                    entry.operation.release()

    def _check_control(self) -> None:
        if self._control != "explicit":
            raise ModelControlError(
                "explicit model load / unload is not allowed: the server's model control mode is "
                f"{self._control}"
            )

    def _load(self, name: str, config: str | None, files: Mapping[str, bytes] | None) -> None:
        """Load a model; of the source unless there are ``files``."""
        upload = None
        try:
            folder: SourceFiles
            if files is not None:
                upload, folder = uploaded(name, files)
            elif self._source is None:
                raise UnknownModelError(f"Request for unknown model: {shown(name)} is not found")
            else:
                folder = self._source.folder(name)
            with self.changed:
                entry = self.entries.setdefault(name, ModelEntry(name))
            with entry.operation:
                if self.is_closing:
                    raise Error("the server is being closed")
                self._loader.load(entry, folder, config)
                upload, entry.upload = entry.upload, upload
                entry.config = config
        except OSError as error:
            raise InputError(f"{name}: {error}") from error
        finally:
            if upload is not None:
                upload.cleanup()


def models_of_engines(engines: Mapping[str, Engine]) -> Models:
    """Serve engines by the names of their models; see `Models.add_engine`.

    Raises:
        InputError: a name cannot be a model's, or a value is not an engine.
    """
    models = Models()
    for name, engine in engines.items():
        if not isinstance(name, str) or not is_model_name(name):
            refuse("models", "printable names without slashes", name)
        if not isinstance(engine, Engine):
            refuse("models", f"a fasttrt.Engine for {name!r}", engine)
        models.add_engine(name, engine)
    return models
