"""The cache of kernels that TensorRT-RTX compiles when a plan is loaded."""

import hashlib
import os
from pathlib import Path

from fasttrt import _core
from fasttrt._cache.checksummed_file import read_checksummed, write_checksummed
from fasttrt._cache.fingerprints import library_fingerprint
from fasttrt._cache.key import digest_of
from fasttrt._cache.store import KERNELS, Store
from fasttrt._library.device import gpu_model
from fasttrt._plan.build_config import TF32_VARIABLE
from fasttrt._plan.plan_file import Plan
from fasttrt.errors import Error


class KernelCache:
    """The compiled kernels of one plan on one GPU model."""

    def __init__(self, root: Path, plan: Plan, library: _core.Library, device: int) -> None:
        """Locate a plan's kernels in the cache's folder ``root``."""
        parts = {
            "plan": plan.digest,
            "library": [library.family, library.version, library_fingerprint(library)],
            "gpu": list(gpu_model(device)),
            # TensorRT-RTX reads it when it compiles, and rejects a plan that was built with
            # another value; so it may affect the kernels as well.
            "environment": {TF32_VARIABLE: os.environ.get(TF32_VARIABLE)},
        }
        self._store = Store(root)
        self._file = root / KERNELS / f"{digest_of(parts)}.kernels"
        self._stored_digest = b""

    @classmethod
    def create(
        cls, root: Path | None, plan: Plan, library: _core.Library, device: int
    ) -> "KernelCache | None":
        """Return the cache of a plan's kernels; None without a cache, and for TensorRT."""
        return None if root is None or library.family != "rtx" else cls(root, plan, library, device)

    def load(self, options: _core.EngineOptions) -> None:
        """Pass the cached kernels to an engine that is about to be loaded."""
        kernels = read_checksummed(self._store.folder, self._file)
        self._stored_digest = hashlib.sha256(kernels).digest()
        options.set_runtime_cache(kernels)
        options.kernels_key = str(self._file)  # of all GPUs of a kind, which take 10 s each else

    def store(self, engine: _core.Engine) -> None:
        """Store the kernels that an engine has compiled, if they differ from the cached ones.

        They may be different kernels, not just additional ones, if the driver has changed.
        """
        try:
            compiled = engine.runtime_cache()
        except Error as error:  # the engine must still be usable, or closed
            self._store.folder.warn_once("gets no kernels", error)
            return
        if compiled and hashlib.sha256(compiled).digest() != self._stored_digest:
            self._stored_digest = hashlib.sha256(compiled).digest()
            write_checksummed(self._store.folder, self._file, compiled)
            self._store.evict(keep=self._file)
