"""The errors that fasttrt raises: one tree under `Error`.

    Exception
    └── Error
        ├── LibraryNotFoundError
        │   └── MissingPackageError
        ├── UnsupportedLibraryError
        ├── ParseError
        ├── BuildError
        ├── EngineLoadError
        ├── InputError (also a ValueError)
        │   └── FileError
        │       └── MissingFileError (also a FileNotFoundError)
        ├── CudaError
        ├── OutOfMemoryError (also a MemoryError)
        ├── QueueFullError
        └── DeadlineError (also a TimeoutError)

Two kinds of errors remain Python's own: TypeError for arguments that a function does not have or
needs, and OSError for what the operating system refuses of an existing file, or of one to write.

Messages name the tensor, option or file, what was expected and what was passed, and quote the
errors that TensorRT logged during the failed call.
"""

from typing import NamedTuple

from fasttrt._terminal import printable


class Error(Exception):
    """The base class of all errors that fasttrt raises."""


class LibraryNotFoundError(Error):
    """No TensorRT library was found. The message lists every path tried and how to install one."""


class MissingPackageError(LibraryNotFoundError):
    """A Python package that only a part of fasttrt needs is not installed.

    Attributes:
        package: the package's name, for instance ``"onnx"``.
        extra: the extra of fasttrt-runtime that brings it, as in ``fasttrt-runtime[onnx]``. What
            ``onnx`` and ``cli`` bring is part of every ``pip install fasttrt``.
    """

    def __init__(self, message: str, package: str = "", extra: str = "") -> None:
        super().__init__(message)
        self.package = package
        self.extra = extra


class UnsupportedLibraryError(Error):
    """The TensorRT library found cannot be used, or does not support what was requested."""


class ParseIssue(NamedTuple):
    """One reason why the ONNX model cannot be parsed.

    Attributes:
        node: The node's index in the model's graph; -1 if the issue concerns the whole model, or a
            node in a subgraph.
        name: The node's name; empty if it has none.
        operator: The node's operator, for instance ``"Conv"``.
        reason: The cause in plain words, where it is known, and TensorRT's own message.
    """

    node: int
    name: str
    operator: str
    reason: str

    def __str__(self) -> str:
        """Format the issue as a line of an error message."""
        if self.node < 0 and not self.name and not self.operator:
            return self.reason
        index = f" {self.node}" if self.node >= 0 else ""  # otherwise in a subgraph
        name = f" '{printable(self.name)}'" if self.name else ""
        operator = f" ({printable(self.operator)})" if self.operator else ""
        return f"node{index}{name}{operator}: {self.reason}"


class ParseError(Error):
    """TensorRT cannot parse the ONNX model.

    Attributes:
        issues: everything that the parser rejected, in its order.
        outputs: the name of the first output of each issue's node; empty if unknown.
        advice: the ``freeze=`` or ``dims=`` with which the model parses, if ``advise=True`` found
            one.
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
        """Return the message, a line for each issue, and the advice."""
        issues = [f"  {issue}" for issue in self.issues]
        return "\n".join(filter(None, [super().__str__(), *issues, self.advice]))


class BuildError(Error):
    """TensorRT parsed the model but cannot build an engine from it as configured.

    Attributes:
        advice: a remedy, where one is known: usually the ``freeze=`` or ``dims=`` with which the
            model builds, if ``advise=True`` found one.
    """

    advice = ""

    def __str__(self) -> str:
        """Return the message and the advice."""
        return "\n".join(filter(None, [super().__str__(), self.advice]))


class EngineLoadError(Error):
    """A plan cannot run here: it is damaged, or built by another TensorRT or for another GPU."""


class InputError(Error, ValueError):
    """An array or an argument does not match what the engine accepts."""


class FileError(InputError):
    """A file, or another file that it refers to, does not have the expected content."""


# The order makes the constructor OSError's, which keeps `errno` and `filename`.
class MissingFileError(FileNotFoundError, FileError):
    """A file that was named does not exist.

    Attributes:
        filename: the path, as it was given.
    """

    def __str__(self) -> str:
        """Name the file."""
        return f"no such file: {self.filename!r}"


class CudaError(Error):
    """A CUDA driver call failed.

    Attributes:
        code: the driver's CUresult; -1 if the driver library itself is missing.
        call: the driver function that failed, for instance ``"cuMemAlloc_v2"``.
    """

    def __init__(self, message: str, code: int = -1, call: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.call = call


class OutOfMemoryError(Error, MemoryError):
    """The GPU or the host has too little free memory for the request."""


class QueueFullError(Error):
    """As many requests wait as ``Engine(max_queue=)`` allows; this one was not taken."""


class DeadlineError(Error, TimeoutError):
    """A request did not start, or was not complete, within its ``timeout``."""
