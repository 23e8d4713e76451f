"""What `fasttrt.compare` found."""

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fasttrt.comparing.bisection import Divergence
from fasttrt.comparing.metrics import OutputComparison

if TYPE_CHECKING:
    from rich.table import Table

_WIDTH = 132  # of the table as text


@dataclass(frozen=True)
class Comparison:
    """An engine held against a reference. ``print`` it for a table."""

    outputs: tuple[OutputComparison, ...]
    """One for each of the engine's outputs."""
    samples: int
    """How many inputs were run."""
    inputs: dict[str, str]
    """Where each input came from: for random ones the shapes and values drawn."""
    seed: int | None
    """Of random inputs: ``compare(..., seed=seed)`` draws the same."""
    engine: str
    """Where the engine ran, and by which library."""
    reference: str
    precision: str
    """Whose rounding the limits allow for, unless ``thresholds`` say else."""
    divergence: Divergence | None = None
    """The first node that differs, if it was looked for and found."""
    note: str = ""
    """Why no node was looked for or found, where an output fails."""

    @property
    def passed(self) -> bool:
        """Whether every output did."""
        return all(output.passed for output in self.outputs)

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON has it: numbers, strings, lists and mappings; None for infinity."""
        found = asdict(self) | {"passed": self.passed}
        for output, compared in zip(found["outputs"], self.outputs, strict=True):
            output["passed"] = compared.passed
        plain: dict[str, Any] = _plain(found)
        return plain

    def __str__(self) -> str:
        """A table, and why what fails does."""
        import io

        from rich.console import Console

        text = io.StringIO()
        Console(file=text, width=_WIDTH, color_system=None).print(self._table())
        return "\n".join([text.getvalue().rstrip(), *self._remarks()])

    def __rich__(self) -> Any:
        """The same for rich, in colour."""
        from rich.console import Group
        from rich.text import Text

        return Group(self._table(), *(Text(line) for line in self._remarks()))

    def _table(self) -> "Table":
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("output", overflow="fold")
        for name in ("dtype", "shape"):
            table.add_column(name)
        for name in ("max abs", "max rel", "mean abs", "cosine", "top-1", "NaN", "Inf"):
            table.add_column(name, justify="right")
        table.add_column("verdict")
        for output in self.outputs:
            agreement = output.top1 if output.equal is None else output.equal
            table.add_row(
                Text(output.name),
                _both(output.dtype, output.reference_dtype),
                _both(_shape(output.shape), _shape(output.reference_shape)),
                _number(output.max_abs_error),
                _number(output.max_rel_error),
                _number(output.mean_abs_error),
                "-" if output.cosine is None else f"{output.cosine:.7f}",
                "-" if agreement is None else f"{100 * agreement:.4g} %",
                _both(str(output.nan), str(output.reference_nan)),
                _both(str(output.inf), str(output.reference_inf)),
                Text("passed", "green") if output.passed else Text("FAILED", "red"),
            )
        return table

    def _remarks(self) -> list[str]:
        drawn = f"seed {self.seed}" if self.seed is not None else "given inputs"
        lines = [
            f"{self.engine} against {self.reference}, {self.samples} samples, {drawn}, "
            f"limits for {self.precision}"
        ]
        if self.engine.startswith("cpu"):
            lines.append("the engine ran on the CPU, which tells nothing about TensorRT")
        lines += [f"{o.name}: {reason}" for o in self.outputs for reason in o.reasons]
        lines += [
            f"{o.name}: hardly depends on these inputs, so this proves little: give inputs that "
            "mean something to the model"
            for o in self.outputs
            if o.telling is False
        ]
        if self.divergence is not None:
            lines.append(str(self.divergence))
        if self.note:
            lines.append(self.note)
        return lines


def _both(ours: str, theirs: str) -> Any:
    from rich.text import Text

    return Text(ours if ours == theirs else f"{ours} (not {theirs})")


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
