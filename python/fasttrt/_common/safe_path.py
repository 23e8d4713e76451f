"""What is run from a folder runs nothing that lies there.

``python -m`` puts the current folder in front of where modules are found, so ``python -m fasttrt``
would run a ``json.py`` that is there. Imported before all else.
"""

import sys  # and nothing else, which would be looked for there


def names_fasttrt(arguments: list[str]) -> bool:
    """Whether Python was told to run fasttrt as a module: by ``-m fasttrt`` or ``-Bmfasttrt``."""
    for index, argument in enumerate(arguments):
        flags, is_there, module = argument.partition("m")
        if not (is_there and flags.startswith("-") and (flags[1:] or "m").isalpha()):
            continue
        module = module or "".join(arguments[index + 1 : index + 2])
        if module.partition(".")[0] == "fasttrt":
            return True
    return False


# While Python looks for the module, its first argument is "-m". -P is of Python 3.11.
_is_searched = not getattr(sys.flags, "safe_path", False)
if _is_searched and sys.argv[:1] == ["-m"] and names_fasttrt(sys.orig_argv):
    del sys.path[0]
