"""The kernels that TensorRT-RTX compiles when a plan is loaded, kept for the next process."""

import hashlib
import os
from pathlib import Path

from fasttrt import _core
from fasttrt._cache.checksummed_file import read_sealed, write_sealed
from fasttrt._cache.key import digest_of
from fasttrt._cache.library_fingerprint import library_build
from fasttrt._cache.store import KERNELS, Store
from fasttrt._library.device import gpu_model
from fasttrt._plan.build_config import TF32_VARIABLE
from fasttrt._plan.plan_file import Plan
from fasttrt.errors import Error


class KeptKernels:
    """The compiled kernels of one plan on one kind of GPU."""

    def __init__(self, root: Path, plan: Plan, library: _core.Library, device: int) -> None:
        """Take what belongs to a plan in the cache's folder ``root``."""
        parts = {
            "plan": plan.digest,
            "library": [library.family, library.version, library_build(library)],
            "gpu": list(gpu_model(device)),
            # TensorRT-RTX looks at it when it compiles, and refuses a plan that was built with
            # another value; so it may be in the kernels as well.
            "environment": {TF32_VARIABLE: os.environ.get(TF32_VARIABLE)},
        }
        self._store = Store(root)
        self._file = root / KERNELS / f"{digest_of(parts)}.kernels"
        self._kept = b""

    @classmethod
    def of(
        cls, root: Path | None, plan: Plan, library: _core.Library, device: int
    ) -> "KeptKernels | None":
        """None without a cache, and for libraries that compile nothing at that time."""
        return None if root is None or library.family != "rtx" else cls(root, plan, library, device)

    def give(self, options: _core.EngineOptions) -> None:
        """Let the engine that is opened begin with what is kept."""
        kept = read_sealed(self._store.folder, self._file)
        self._kept = hashlib.sha256(kept).digest()
        options.set_runtime_cache(kept)

    def keep(self, engine: _core.Engine) -> None:
        """Write what the engine has compiled, if it is not what is kept.

        It is other kernels, not only more, where the driver has changed.
        """
        try:
            compiled = engine.runtime_cache()
        except Error as error:  # no reason to lose the engine, or not to close it
            self._store.folder.warn_once("gets no kernels", error)
            return
        if compiled and hashlib.sha256(compiled).digest() != self._kept:
            self._kept = hashlib.sha256(compiled).digest()
            write_sealed(self._store.folder, self._file, compiled)
            self._store.evict(keep=self._file)
