"""A plugin library of TensorRT's, compiled in the test without the vendor's headers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

# The interface of a creator of plugins, from TensorRT 10 on: the order of its virtual functions and
# the kind that it names are all that the library looks at. It makes no plugin. The parser of
# TensorRT-RTX knows no operators but its own; NonZero is one that it looks for among the plugins.
_SOURCE = """
#include <cstdint>

struct InterfaceInfo { const char* kind; std::int32_t major; std::int32_t minor; };
struct Fields { std::int32_t count; const void* fields; };

struct Creator {
  virtual std::int32_t api_language() const noexcept { return 0; }
  virtual InterfaceInfo interface_info() const noexcept { return {"PLUGIN CREATOR_V3ONE", 1, 0}; }
  virtual ~Creator() = default;
  virtual void* create(const char*, const Fields*, std::int32_t) noexcept { return nullptr; }
  virtual const Fields* field_names() noexcept { return &fields; }
  virtual const char* name() const noexcept { return "NonZero"; }
  virtual const char* version() const noexcept { return "1"; }
  virtual const char* space() const noexcept { return ""; }
  Fields fields{0, nullptr};
};

Creator creator;
Creator* const list[] = {&creator};

extern "C" void setLoggerFinder(void*) {}
extern "C" Creator* const* getCreators(std::int32_t& count) { count = @COUNT@; return list; }
"""


def compile_plugins(path: Path, *, count: int = 1) -> Path:
    """Compile a library with one plugin, or none (``count=0``); skips without a compiler."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("there is no C++ compiler (c++)")
    subprocess.run(
        [compiler, *("-std=c++17", "-shared", "-fPIC", "-x", "c++", "-"), *("-o", str(path))],
        input=_SOURCE.replace("@COUNT@", str(count)),
        text=True,
        check=True,
    )
    return path
