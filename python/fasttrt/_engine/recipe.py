"""What an engine was opened with, so that it can be opened again in another process."""

import hashlib
import os
import pickle
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from fasttrt import _core
from fasttrt._common.input_file import Version, check_file
from fasttrt._common.log import logger
from fasttrt._graph.model import OnnxModel
from fasttrt._library.device import device_name, is_auto, parse_devices
from fasttrt._plan.plan_file import Bytes, Plan, is_plan_file
from fasttrt.errors import FileError, InputError, MissingFileError

if TYPE_CHECKING:
    import onnx

Model: TypeAlias = "str | os.PathLike[str] | Bytes | onnx.ModelProto | Plan"

_MOST_BYTES = 100 << 20
"""The maximum size of a model in memory. Ray warns of larger objects, too."""
_ADVICE = (
    "save it where all processes can read it and open the engine from its path, or send the "
    "content once to each machine (for instance by ray.put) and open the engine there"
)


@dataclass(frozen=True)
class _Source:
    """A model, a plan or weights, as another process finds it."""

    content: "str | bytes | Plan"
    """An absolute path, or the content itself."""
    digest: str
    """The SHA-256 of the content, or of what a path leads to."""

    def opened(self) -> Any:
        """Return it, once it is certain that it is what it was.

        Raises:
            FileError: there is no such file here, or it has another content.
        """
        if not isinstance(self.content, str):
            return self.content
        try:
            check_file(self.content)
        except MissingFileError:
            raise _missing(self.content) from None
        if _digest(self.content) != self.digest:
            raise FileError(
                f"{self.content} has another content here than where the engine was pickled: "
                f"expected the SHA-256 {self.digest}"
            )
        return self.content


class Recipe:
    """The arguments of `Engine`, and the model of its last refit."""

    def __init__(self, model: Model, options: Mapping[str, Any]) -> None:
        """Keep the options but ``model`` and ``progress``, and note the state of the files."""
        self._versions: dict[str, dict[str, Version]] = {}
        self._options = dict(options)
        self._model = self._kept("model", model)
        self._weights = self._kept("weights", options["weights"])
        self._refitted: Any = None
        self._result: PackedRecipe | None = None

    @property
    def options(self) -> Mapping[str, Any]:
        """The options as they were given."""
        return self._options

    def note(self, argument: str, read: OnnxModel | Plan | None) -> None:
        """Note the files that were read for an argument, with their external data."""
        if isinstance(read, OnnxModel):
            files = {str(path.absolute()): version for path, version in read.versions.items()}
            self._versions[argument] = files

    def refit(self, model: Model, read: OnnxModel) -> None:
        """Note that the engine has the weights of this model by now."""
        self._refitted = self._kept("refit", model)
        self.note("refit", read)
        self._result = None

    def pack(self) -> "PackedRecipe":
        """Return what another process needs; files are read once.

        Raises:
            FileError: a file has changed since the engine was opened.
            InputError: a model in memory is too large to be copied to each process.
        """
        for versions in self._versions.values():
            for path, version in versions.items():
                if check_file(path) != version:
                    raise FileError(f"{path} has changed since the engine was opened")
        if self._result is None:
            self._result = self._pack()
        return self._result

    def _pack(self) -> "PackedRecipe":
        options = self._options | {"weights": self._packed(self._weights)}
        for name in ("cache", "library"):
            options[name] = _absolute(options[name])
        options["plugins"] = [_absolute(plugin) for plugin in _listed(options["plugins"])]
        if (config := options["config"]) is not None:
            options["config"] = replace(config, timing_cache=_absolute(config.timing_cache))
        options["device"] = device_name(options["device"])
        if options["devices"] is not None:
            options["devices"] = [device_name(device) for device in options["devices"]]
        model = self._packed(self._model)
        assert model is not None
        return PackedRecipe(model, options, self._packed(self._refitted))

    def _kept(self, argument: str, source: Any) -> Any:
        """Return a path, a model that is small enough to be pickled, or a larger one's size."""
        self._versions[argument] = {}
        if source is None:
            return None
        if isinstance(source, (str, os.PathLike)):
            path = str(Path(source).absolute()) if os.fspath(source) else ""
            self._versions[argument][path] = check_file(path)
            return path
        size = content_size(source)
        source = unchanging(source)
        return source if size <= _MOST_BYTES else size

    def _packed(self, kept: Any) -> "_Source | None":
        if kept is None:
            return None
        if isinstance(kept, int):
            raise InputError(
                f"an engine whose model is in memory is pickled with it, up to {_MOST_BYTES} "
                f"bytes; this one has {kept}: {_ADVICE}"
            )
        if isinstance(kept, str):
            return _Source(kept, _digest(kept))
        if isinstance(kept, Plan):
            return _Source(kept, kept.digest)
        content = bytes(kept)
        return _Source(content, hashlib.sha256(content).hexdigest())


@dataclass(frozen=True)
class PackedRecipe:
    """A `Recipe` that can be pickled."""

    model: _Source
    options: dict[str, Any]
    refitted: "_Source | None"
    key: str = field(init=False)
    """The same for recipes that open the same engine."""

    def __post_init__(self) -> None:
        """Hash it, with the digests of sources in their places."""
        weights: _Source | None = self.options["weights"]
        sources = [source and source.digest for source in (self.model, weights, self.refitted)]
        content = pickle.dumps((sources, self.options | {"weights": None}))
        object.__setattr__(self, "key", hashlib.sha256(content).hexdigest())

    @property
    def name(self) -> str:
        """What it is about, for messages."""
        content = self.model.content
        return Path(content).name if isinstance(content, str) else "a model in memory"

    def arguments(self) -> tuple[Any, dict[str, Any]]:
        """Return the model and the options to open an engine with here, on the GPUs that are here.

        Raises:
            FileError: a file is missing here, or is another one.
        """
        options = {**self.options, **_devices_here(self.options["device"], self.options["devices"])}
        if options["weights"] is not None:
            options["weights"] = options["weights"].opened()
        return self.model.opened(), options


def _devices_here(device: Any, devices: Sequence[Any] | None) -> dict[str, Any]:
    """Return the options ``device`` and ``devices`` for GPUs that exist in this process.

    Schedulers such as Ray show each process its own GPUs only, numbered from 0 on.
    """
    if is_auto(device) and devices is None:
        return {"device": device, "devices": None}
    wanted = parse_devices(device, devices)
    if wanted is None or _core.driver_problem():  # an engine will say what is wrong
        return {"device": device, "devices": devices}
    count = _core.device_count()
    here = [ordinal for ordinal in wanted if ordinal < count] or [0]
    if here != wanted:
        logger.info("the engine is opened on GPUs %s, as there are no GPUs %s here", here, wanted)
    return {"device": f"cuda:{','.join(map(str, here))}", "devices": None}


def _missing(path: str) -> FileError:
    return FileError(
        f"{path} does not exist here, where an engine that was pickled with its path is to be "
        "opened: put it where all machines find it, or open the engine from a fasttrt.Plan or "
        "from bytes, which are pickled with it"
    )


def _digest(path: str) -> str:
    if is_plan_file(path):
        return Plan.load(path).digest
    return OnnxModel(path, later=True).sha256()


def content_size(source: Any) -> int:
    """Return the bytes of a model in memory, or of a plan; 0 for anything else."""
    if isinstance(source, Plan):
        return len(source.data)
    if _is_bytes(source):
        return memoryview(source).nbytes
    return int(source.ByteSize()) if hasattr(source, "ByteSize") else 0  # who opens it refuses it


def unchanging(source: Any) -> Any:
    """Return a model that its owner may change later as its bytes, if they can be pickled.

    What is opened from these does not serialize it once more.
    """
    if content_size(source) > _MOST_BYTES:
        return source
    onnx = sys.modules.get("onnx")  # it made the model, if this is one
    if onnx is not None and isinstance(source, onnx.ModelProto):
        return bytes(source.SerializeToString())
    if isinstance(source, memoryview) and source.ndim == 1 and source.contiguous:
        return bytes(source)
    return source


def _is_bytes(source: object) -> bool:
    return isinstance(source, (bytes, memoryview))


def _absolute(path: Any) -> Any:
    """Return an existing path as one that does not depend on the current folder."""
    is_path = isinstance(path, (str, os.PathLike)) and Path(path).exists()
    return str(Path(path).absolute()) if is_path else path


def _listed(plugins: Any) -> Sequence[Any]:
    if plugins is None:
        return ()
    return (plugins,) if isinstance(plugins, (str, os.PathLike)) else tuple(plugins)
