"""Hold and print the result of `fasttrt.compare`."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fasttrt._accuracy.bisection import Divergence
from fasttrt._accuracy.metrics import OutputComparison
from fasttrt._common.json_values import json_value
from fasttrt._common.tables import Column, name, number, output_width, render, wrap
from fasttrt._terminal import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

_NUMBERS = ("max abs", "max rel", "mean abs", "cosine", "top-1")


@dataclass(frozen=True)
class Comparison:
    """A comparison of an engine with a reference. ``print`` it for a table."""

    outputs: tuple[OutputComparison, ...]
    """The comparison of each of the engine's outputs."""
    samples: int
    """The number of samples."""
    inputs: dict[str, str]
    """The origin of each input: for random ones, the shapes and the distribution."""
    seed: int | None
    """The seed of random inputs: ``compare(..., seed=seed)`` generates the same ones."""
    engine: str
    """The engine's device and library."""
    reference: str
    precision: str
    """The precision that the limits allow for, unless ``thresholds`` override it."""
    divergence: Divergence | None = None
    """The first node that differs, if it was searched for and found."""
    note: str = ""
    """Why no node was searched for or found, if an output fails."""

    @property
    def passed(self) -> bool:
        """Whether every output passed."""
        return all(output.passed for output in self.outputs)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values; None for infinity and NaN."""
        found = asdict(self) | {"passed": self.passed}
        for output, compared in zip(found["outputs"], self.outputs, strict=True):
            output["passed"] = compared.passed
        plain: dict[str, Any] = json_value(found)
        return plain

    def __str__(self) -> str:
        """Format a table as wide as the terminal, if any, and the reasons for failures."""
        return "\n".join(self.lines(output_width()))

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """Print the table with rich, in colour."""
        from rich.text import Text

        text = Text("\n".join(self.lines(options.max_width)))
        text.highlight_regex(r"(?m)\bpassed$", "green")
        text.highlight_regex(r"(?m)\bFAILED$", "red")
        yield text

    def lines(self, width: int | None = None) -> list[str]:
        """Format the table for a terminal of that width, and the remarks on it."""
        counts = [
            kind
            for kind in ("nan", "inf")  # most have neither, and a terminal is narrow
            if any(getattr(o, kind) or getattr(o, f"reference_{kind}") for o in self.outputs)
        ]
        columns = [
            name("output"), Column("dtype"), Column("shape"), *map(number, _NUMBERS),
            *(number({"nan": "NaN", "inf": "Inf"}[kind]) for kind in counts), Column("verdict"),
        ]  # fmt: skip
        rows = []
        for output in self.outputs:
            agreement = output.top1 if output.equal is None else output.equal
            rows.append([
                output.name,
                _both(output.dtype, output.reference_dtype),
                _both(_shape(output.shape), _shape(output.reference_shape)),
                _number(output.max_abs_error),
                _number(output.max_rel_error),
                _number(output.mean_abs_error),
                "-" if output.cosine is None else f"{output.cosine:.7f}",
                "-" if agreement is None else f"{100 * agreement:.4g} %",
                *(
                    _both(str(getattr(output, kind)), str(getattr(output, f"reference_{kind}")))
                    for kind in counts
                ),
                "passed" if output.passed else "FAILED",
            ])  # fmt: skip
        return [*render(columns, rows, width), *wrap(map(printable, self._remarks()), width)]

    def _remarks(self) -> list[str]:
        drawn = f"seed {self.seed}" if self.seed is not None else "given inputs"
        lines = [
            f"{self.engine} against {self.reference}, {self.samples} samples, {drawn}, "
            f"limits for {self.precision}"
        ]
        if self.engine.startswith("cpu"):
            lines.append("the engine ran on the CPU, which proves nothing about TensorRT")
        lines += [f"{o.name}: {reason}" for o in self.outputs for reason in o.reasons]
        lines += [
            f"{o.name}: hardly depends on these inputs, so this proves little: use inputs that "
            "are meaningful to the model"
            for o in self.outputs
            if o.input_sensitive is False
        ]
        if self.divergence is not None:
            lines.append(str(self.divergence))
        if self.note:
            lines.append(self.note)
        return lines


def _both(ours: str, theirs: str) -> str:
    return ours if ours == theirs else f"{ours} (not {theirs})"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
