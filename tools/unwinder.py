"""Let an extension unwind with libgcc_s, the system's unwinder, rather than with zig's own.

Up to 3.13, Python ends threads at its exit by unwinding their stacks with libgcc_s. C++ frames on
such a stack ask the unwinder that they were linked to about it, and one that is not libgcc_s
crashes. zig has its own, as a static library; a shared library that comes before it on the command
line is taken in its place. At run time libgcc_s itself is found, which every manylinux system has.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

SONAME = "libgcc_s.so.1"
# What C++ needs of it, by the version of the symbol.
_SYMBOLS = {
    "GCC_3.0": (
        "_Unwind_DeleteException",
        "_Unwind_GetIP",
        "_Unwind_GetLanguageSpecificData",
        "_Unwind_GetRegionStart",
        "_Unwind_RaiseException",
        "_Unwind_Resume",
        "_Unwind_SetGR",
        "_Unwind_SetIP",
    ),
    "GCC_3.3": ("_Unwind_Resume_or_Rethrow",),
}


def make_stub(zig: Path, target: str, folder: Path) -> Path:
    """Make a library with the names of libgcc_s and no code, to link to; return its path."""
    names = [name for symbols in _SYMBOLS.values() for name in symbols]
    source = folder / "libgcc_s.c"
    source.write_text("".join(f"void {name}(void) {{}}\n" for name in names))
    versions = folder / "libgcc_s.map"
    versions.write_text(
        "".join(f"{version} {{ {'; '.join(names)}; }};\n" for version, names in _SYMBOLS.items())
    )
    stub = folder / SONAME
    options = (
        "-shared",
        "-fPIC",
        "-nostdlib",
        f"-Wl,-soname,{SONAME}",
        f"-Wl,--version-script={versions}",
    )
    subprocess.run([zig, "cc", "-target", target, *options, source, "-o", stub], check=True)
    return stub
