"""Metrics in Prometheus' text format.

Not by prometheus_client, which writes large numbers with exponents and appends ``_total`` to the
names of counters: perf_analyzer, and dashboards made for Triton, expect neither.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Family:
    """A metric with its samples.

    Attributes:
        name: the metric's.
        help: what it is, in a line.
        kind: ``"counter"``, ``"gauge"`` or ``"histogram"``.
        samples: what follows the metric's name, labels, and value.
    """

    name: str
    help: str
    kind: Literal["counter", "gauge", "histogram"]
    samples: list[tuple[str, Mapping[str, str], float]] = field(default_factory=list)

    def add(self, value: float, **labels: str) -> None:
        """Add a sample."""
        self.samples.append(("", labels, value))

    def add_histogram(
        self, counts: Iterable[tuple[float, int]], count: int, total: float, **labels: str
    ) -> None:
        """Add a histogram.

        Args:
            counts: bounds, ascending, each with the number of values that are not above it.
            count: of all values.
            total: their sum.
            labels: of all its samples.
        """
        for bound, below in counts:
            self.samples.append(("_bucket", labels | {"le": decimal(bound)}, below))
        self.samples.append(("_bucket", labels | {"le": "+Inf"}, count))
        self.samples.append(("_sum", labels, total))
        self.samples.append(("_count", labels, count))


def exposition(families: Iterable[Family]) -> str:
    """Write metrics; the labels of each sample in alphabetical order, as Triton does."""
    lines: list[str] = []
    for family in families:
        lines.append(f"# HELP {family.name} {family.help}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for suffix, labels, value in family.samples:
            pairs = ",".join(f'{key}="{_escaped(labels[key])}"' for key in sorted(labels))
            lines.append(f"{family.name}{suffix}{f'{{{pairs}}}' if pairs else ''} {decimal(value)}")
    return "\n".join(lines) + "\n" if lines else ""


def decimal(value: float) -> str:
    """Write a number without an exponent."""
    if isinstance(value, int):
        return str(value)
    text = f"{value:.9f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
