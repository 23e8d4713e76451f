"""`Models`: the models of a server; loading, replacing and unloading them while requests run."""

import queue
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from fasttrt._common.checks import shown
from fasttrt._common.log import logger
from fasttrt._engine.engine import Engine
from fasttrt._serving.engine_settings import EngineDefaults
from fasttrt._serving.errors import (
    ModelControlError,
    UnknownModelError,
    UnsupportedRequestError,
)
from fasttrt._serving.loaded_model import LoadedModel, find_config, load_version
from fasttrt._serving.model_config import ModelConfig
from fasttrt._serving.model_entry import ModelEntry, ModelState, Slot, VersionEntry
from fasttrt._serving.model_source import ModelSource, SourceFiles, uploaded
from fasttrt._serving.model_table import ModelTable
from fasttrt._serving.repository import ModelFolder, is_version
from fasttrt.errors import Error, InputError

_LOADERS = 4
"""How many models are loaded at once."""
_RETRY_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
"""How long a model that has failed waits before each attempt to open it again."""


class Models(ModelTable):
    """The models of a server. Its methods may be called from several threads at once."""

    def __init__(
        self,
        source: ModelSource | None = None,
        *,
        defaults: EngineDefaults | None = None,
        control: Literal["none", "poll", "explicit"] = "none",
        allow_files: bool = False,
    ) -> None:
        """Know a source's models; none is loaded yet.

        Args:
            source: where models are from; None if only engines are added.
            defaults: options of engines.
            control: whether clients may load and unload (``"explicit"``).
            allow_files: whether load requests may bring files of their own.
        """
        super().__init__()
        self._source = source
        self._defaults = defaults or EngineDefaults()
        self._control: Literal["none", "poll", "explicit"] = control
        self._allow_files = allow_files
        self._is_started = source is None
        self._is_closing = False

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
        with self._changed:
            if name in self._entries:
                raise InputError(f"{name}: expected a name that is not in use")
            entry = self._entries[name] = ModelEntry(name)
            entry.versions["1"] = VersionEntry()
            self._put(entry, "1", slot)

    def start(self, names: "list[str] | None" = None) -> dict[str, Error]:
        """Load the models that are to be served from the start, several at once.

        Args:
            names: which ones; None: all of the source.

        Returns:
            The error of each model that could not be loaded.
        """
        if names is None:
            names = [] if self._source is None else list(self._source.names())
        with self._changed:
            for name in names:
                self._entries.setdefault(name, ModelEntry(name))

        waiting = queue.SimpleQueue[str]()
        for name in names:
            waiting.put(name)
        errors: dict[str, Error] = {}

        def load() -> None:
            while True:
                try:
                    name = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    self._load(name, None, None)
                except Error as error:
                    errors[name] = error

        # Daemons, unlike a pool's: the process may end while they build.
        threads = [
            threading.Thread(target=load, name=f"fasttrt-load-{index}", daemon=True)
            for index in range(min(_LOADERS, len(names)))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._is_started = True
        return dict(sorted(errors.items()))

    def index(self) -> list[ModelState]:
        """Return the state of every version, and every model that is not loaded."""
        names = () if self._source is None else self._source.names()
        with self._changed:
            states = [state for entry in self._entries.values() for state in entry.states()]
        known = {state.name for state in states}
        states += [ModelState(name) for name in names if name not in known]
        return sorted(states, key=lambda state: (state.name, int(state.version or 0)))

    def is_ready(self) -> bool:
        """Return whether each model that is to be served has a version that is ready."""
        with self._changed:
            return self._is_started and not self._is_closing and all(
                entry.latest() is not None for entry in self._entries.values() if entry.wanted
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
        with self._changed:
            entry = self._entry(name)
        self._unload(entry)

    def report_failure(self, model: LoadedModel, error: BaseException) -> None:
        """Take a model whose run failed with a CUDA error out of service, and open it again.

        Others go on. It is opened in the background, again and again until that succeeds; an engine
        of somebody else is not.
        """
        with self._changed:
            entry = self._entries.get(model.name)
            version = None if entry is None else entry.versions.get(model.version)
            if entry is None or version is None or version.slot is None:
                return
            if version.slot.model is not model:
                return  # it was replaced meanwhile
            slot = self._take(entry, model.version, "UNAVAILABLE", f"a run failed: {error}")
        logger.error("%s/%s: taken out of service: %s", model.name, model.version, error)
        threading.Thread(
            target=self._reopen, args=(entry, slot), name="fasttrt-reopen", daemon=True
        ).start()

    def check_health(self) -> None:
        """Call `report_failure` for each model of which a run has failed with a CUDA error."""
        with self._changed:
            slots = self._slots()
        for slot in slots:
            try:
                count = slot.model.engine.stats().errors.get("CudaError", 0)
            except Error:
                continue  # it is being closed
            if count > slot.cuda_errors:
                slot.cuda_errors = count
                self.report_failure(slot.model, Error("a CUDA error, see the log"))

    def poll(self) -> None:
        """Load and unload what has changed in the source since it was last looked at."""
        if self._source is None:
            return
        names = set(self._source.names())
        with self._changed:
            gone = [e for e in self._entries.values() if e.wanted and e.name not in names]
        for entry in gone:
            logger.info("%s: unloaded, as it is no longer in the repository", entry.name)
            self._unload(entry)
        for name in sorted(names):
            with self._changed:
                entry = self._entries.setdefault(name, ModelEntry(name))
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
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()

    def close(self, drain: bool = True, timeout: float = -1) -> None:
        """Unload everything; engines of others stay open.

        Args:
            drain: whether to run the requests that wait.
            timeout: how many seconds to wait for a model that is being loaded, which is then left
                to the end of the process; -1: as long as it takes.
        """
        self.stop_ready()
        with self._changed:
            entries = list(self._entries.values())
        for entry in entries:
            if entry.operation.acquire(timeout=timeout):
                entry.operation.release()
                self._unload(entry, drain)

    def _check_control(self) -> None:
        if self._control != "explicit":
            raise ModelControlError(
                "explicit model load / unload is not allowed: the server runs with "
                f"--model-control-mode {self._control}"
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
            with self._changed:
                entry = self._entries.setdefault(name, ModelEntry(name))
            with entry.operation:
                if self._is_closing:
                    raise Error("the server is being closed")
                self._replace(entry, folder, config)
                upload, entry.upload = entry.upload, upload
                entry.config = config
        except OSError as error:
            raise InputError(f"{name}: {error}") from error
        finally:
            if upload is not None:
                upload.cleanup()

    def _replace(self, entry: ModelEntry, files: SourceFiles, json: str | None) -> None:
        """Load the versions that are wanted, then unload the others."""
        state = files.state()
        with self._changed:
            entry.wanted, entry.tried = True, state
        try:
            given, where = find_config(files, json)
            wanted = given.version_policy.choose(files.versions())
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
                self._replace_version(entry, version, files, state, (given, where))
            except (Error, OSError) as error:
                problems.append(f"version {version} is at UNAVAILABLE state: {error};")
        if problems:
            raise InputError(f"load failed for model '{entry.name}': " + " ".join(problems))
        for version in set(entry.versions) - set(wanted):
            self._remove(entry, version, "not among the versions of its version policy")

    def _replace_version(
        self,
        entry: ModelEntry,
        version: str,
        files: SourceFiles,
        state: Mapping[str, Any],
        config: tuple[ModelConfig, str],
    ) -> None:
        """Load a version unless what it is made of is unchanged; the one before drains then."""
        made_of = (config[0], str(files.model_file(version, config[0])), {
            name: facts
            for name, facts in state.items()
            if not is_version(name.split("/")[0]) or name.startswith(f"{version}/")
        })  # fmt: skip
        with self._changed:
            known = entry.versions.setdefault(version, VersionEntry())
            old = known.slot
            if old is not None and old.made_of == made_of:
                return
            if old is None:
                known.state, known.reason = "LOADING", ""
        try:
            model = load_version(files, version, *config, self._defaults)
        except BaseException as error:
            with self._changed:
                if known.slot is None:
                    known.state, known.reason = "UNAVAILABLE", str(error)
            raise
        with self._changed:
            is_late = self._is_closing
            if not is_late:
                self._put(entry, version, Slot(model, made_of))
        if is_late:
            model.engine.close()
            raise Error("the server is being closed")
        if old is not None:
            self._retire(old)

    def _unload(self, entry: ModelEntry, drain: bool = True) -> None:
        with entry.operation:
            with self._changed:
                entry.wanted, entry.config = False, None
            for version in list(entry.versions):
                self._remove(entry, version, "unloaded", drain)
            if entry.upload is not None:
                entry.upload.cleanup()
                entry.upload = None

    def _remove(
        self, entry: ModelEntry, version: str, reason: str, drain: bool = True
    ) -> None:  # fmt: skip
        with self._changed:
            if entry.versions[version].slot is None:
                entry.versions[version].state = "UNAVAILABLE"
                entry.versions[version].reason = reason
                return
            slot = self._take(entry, version, "UNLOADING", "")
        self._retire(slot, drain)
        with self._changed:
            entry.versions[version].state = "UNAVAILABLE"
            entry.versions[version].reason = reason

    def _reopen(self, entry: ModelEntry, failed: Slot) -> None:
        try:
            self._retire(failed)
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
                    self._replace(entry, self._files_of(entry), entry.config)
                    return
                except (Error, OSError) as error:
                    logger.error("%s: cannot be opened again: %s", entry.name, error)

    def _is_over(self, entry: ModelEntry, seconds: float) -> bool:
        """Wait, and return whether the model is no longer to be served."""
        with self._changed:
            return self._changed.wait_for(lambda: self._is_closing or not entry.wanted, seconds)

    def _files_of(self, entry: ModelEntry) -> SourceFiles:
        if entry.upload is not None:
            root = Path(entry.upload.name).resolve()
            return ModelFolder(entry.name, root, root / entry.name)
        if self._source is None:
            raise UnknownModelError(f"Request for unknown model: {entry.name!r} is not found")
        return self._source.folder(entry.name)


def _repeat_last(values: tuple[float, ...]) -> Iterator[float]:
    yield from values
    while True:
        yield values[-1]
