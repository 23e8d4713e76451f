"""Removal of the current folder from the module search path.

``python -m`` searches the current folder first, so ``python -m fasttrt`` would import a ``json.py``
that happens to be there. This module is therefore imported before anything else.
"""

import sys  # and nothing else, which would be looked for there


def names_fasttrt(arguments: list[str]) -> bool:
    """Return whether Python's arguments run the module: ``-m fasttrt``, or ``-Bmfasttrt``."""
    for index, argument in enumerate(arguments):
        flags, has_m, module = argument.partition("m")
        if not (has_m and flags.startswith("-") and (flags[1:] or "m").isalpha()):
            continue
        module = module or "".join(arguments[index + 1 : index + 2])
        if module.partition(".")[0] == "fasttrt":
            return True
    return False


# While Python looks for the module, sys.argv[0] is "-m". -P exists from Python 3.11 on.
_is_searched = not getattr(sys.flags, "safe_path", False)
if _is_searched and sys.argv[:1] == ["-m"] and names_fasttrt(sys.orig_argv):
    del sys.path[0]
