"""Hide installed packages from a process, as if they were not installed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_OURS = {"fasttrt", "support"}


def hide(*packages: str) -> None:
    """Hide packages; ``"google.protobuf"`` hides a part of one."""
    _hide(lambda name: any(f"{name}.".startswith(f"{hidden}.") for hidden in packages))


def hide_all_but(packages: Collection[str]) -> None:
    """Hide everything that is not in the standard library, and not one of these packages."""
    shown = {*packages, *sys.stdlib_module_names, *_OURS}
    # Debian's Python keeps a module of its build's settings beside the packages.
    _hide(
        lambda name: name.partition(".")[0] not in shown and not name.startswith("_sysconfigdata_")
    )


def _hide(is_hidden: Callable[[str], bool]) -> None:
    class Finder(PathFinder):
        """Finds modules on the path, but for the hidden ones."""

        @classmethod
        def find_spec(
            cls,
            fullname: str,
            path: Sequence[str] | None = None,
            target: ModuleType | None = None,
        ) -> ModuleSpec | None:
            return None if is_hidden(fullname) else super().find_spec(fullname, path, target)

    sys.meta_path[:] = [Finder if finder is PathFinder else finder for finder in sys.meta_path]
