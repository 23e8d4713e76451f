"""The errors that fasttrt raises: one tree under `Error`.

Messages name the tensor, option or file concerned, what was expected and what came, and quote the
error lines that TensorRT logged for the failed call.
"""

from typing import NamedTuple

from fasttrt._terminal import printable


class Error(Exception):
    """The base of every error that fasttrt raises by itself."""


class LibraryNotFoundError(Error):
    """No TensorRT library was found. Lists every path tried and how to install one."""


class UnsupportedLibraryError(Error):
    """A library was found that fasttrt cannot use, or not for what was asked of it."""


class ParseIssue(NamedTuple):
    """One thing that the ONNX parser refused."""

    node: int
    """Index in the model's graph; -1 if it concerns the whole model, or a node within
    another one."""
    name: str
    """The node's name, empty if it has none."""
    operator: str
    """The node's operator, for instance ``"Conv"``."""
    reason: str
    """Why, in plain words where that is known, and TensorRT's own."""

    def __str__(self) -> str:
        """As a line of an error message."""
        if self.node < 0 and not self.name and not self.operator:
            return self.reason
        index = f" {self.node}" if self.node >= 0 else ""  # else it is within another node
        name = f" '{printable(self.name)}'" if self.name else ""
        operator = f" ({printable(self.operator)})" if self.operator else ""
        return f"node{index}{name}{operator}: {self.reason}"


class ParseError(Error):
    """TensorRT cannot parse the ONNX model.

    Attributes:
        issues: all that the parser refused, in its order.
        outputs: of each issue's node the first tensor that it gives; empty if that is not known.
        advice: the ``freeze=`` or ``dims=`` with which it parses, where ``advise=True`` found one.
    """

    advice = ""

    def __init__(
        self,
        message: str,
        issues: tuple[ParseIssue, ...] = (),
        outputs: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(message)
        self.issues = issues
        self.outputs = outputs or ("",) * len(issues)

    def __str__(self) -> str:
        """The message, a line for each issue, and the advice."""
        issues = [f"  {issue}" for issue in self.issues]
        return "\n".join(filter(None, [super().__str__(), *issues, self.advice]))


class BuildError(Error):
    """TensorRT parsed the model but cannot build an engine from it as configured.

    Attributes:
        advice: what helps, where that is known: mostly the ``freeze=`` or ``dims=`` with which it
            builds, if ``advise=True`` found one.
    """

    advice = ""

    def __str__(self) -> str:
        """The message and the advice."""
        return "\n".join(filter(None, [super().__str__(), self.advice]))


class EngineLoadError(Error):
    """A plan cannot run here: damaged, or made by another TensorRT or for another GPU."""


class InputError(Error, ValueError):
    """An array or an argument does not fit what the engine takes."""


class FileError(InputError):
    """A file that was named, or one that it names, has not the content that it should have."""


class CudaError(Error):
    """A CUDA driver call failed.

    Attributes:
        code: the driver's CUresult; -1 if the driver library itself is missing.
        call: the function that failed, for instance ``"cuMemAlloc_v2"``.
    """

    def __init__(self, message: str, code: int = -1, call: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.call = call


class OutOfMemoryError(Error, MemoryError):
    """The GPU, or the host, has no memory left for what was asked."""
