"""What came of the cases: a summary, a table by operator, and what is expected next time."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

# How far a case came, in this order; "crashed", "hung" and "error" (of fasttrt's own) before all.
STAGES = ("refused", "parsed", "built", "ran", "right")
_FAILURES = ("crashed", "hung", "error")


@dataclass(frozen=True)
class Result:
    """Of one case: the outcome as shipped, and, if there was need, with parameters frozen."""

    operator: str
    digest: str
    outcomes: list[dict[str, Any]]

    @property
    def shipped(self) -> str:
        """How far it came as shipped."""
        return str(self.outcomes[0]["stage"])

    @property
    def best(self) -> str:
        """How far it came, parameters frozen or not."""
        return str(max((outcome["stage"] for outcome in self.outcomes), key=rank))

    @property
    def problem(self) -> str:
        """Why the best did not come further."""
        best = max(self.outcomes, key=lambda outcome: rank(outcome["stage"]))
        return str(best["problem"])


def rank(stage: str) -> int:
    """The further, the greater."""
    return STAGES.index(stage) if stage in STAGES else -1


def summary(results: dict[str, Result], ran: bool) -> str:
    """Counts, as shipped and with parameters frozen."""
    lines = []
    for title, stages in (
        ("as shipped", [result.shipped for result in results.values()]),
        ("frozen where that helps", [result.best for result in results.values()]),
    ):
        counts = _reached(stages)
        shown = STAGES[1:] if ran else STAGES[1:3]
        lines.append(f"{title}: " + ", ".join(f"{stage} {counts[stage]}" for stage in shown))
    return "\n".join(lines)


def _reached(stages: list[str]) -> Counter[str]:
    return Counter({s: sum(rank(stage) >= rank(s) for stage in stages) for s in STAGES})


def problems(results: dict[str, Result]) -> list[str]:
    """A line for each crash, hang, failed run and wrong answer."""
    return [
        f"{name}: {result.best}: {result.problem.strip()}"
        for name, result in results.items()
        if result.problem and (result.best in ("built", "ran") or result.best in _FAILURES)
    ]


def update(folder: Path, results: dict[str, Result], release: str, library: str, ran: bool) -> None:
    """Write TABLE.md and expected.json. Without a GPU, keep what one told of the same cases."""
    old = read_expected(folder)
    is_same = old.get("library") == library
    cases: dict[str, Any] = {}
    for name, result in results.items():
        cases[name] = {
            "operator": result.operator,
            "model": result.digest,
            "shipped": min(result.shipped, "built", key=rank),
            "frozen": min(result.best, "built", key=rank),
        }
        before = old.get("cases", {}).get(name, {})
        if ran and rank(result.best) >= rank("built"):
            cases[name]["run"] = {"built": "failed", "ran": "wrong", "right": "right"}[result.best]
        elif not ran and is_same and "run" in before and cases[name]["frozen"] == "built":
            cases[name]["run"] = before["run"]
    expected = {
        "library": library,
        "onnx": release,
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
        "gpu_date": f"{datetime.now(timezone.utc):%Y-%m-%d}" if ran else old.get("gpu_date", ""),
        "cases": cases,
    }
    lines = [f"{json.dumps(name)}: {json.dumps(case)}" for name, case in cases.items()]
    head = json.dumps({key: value for key, value in expected.items() if key != "cases"})[:-1]
    body = ",\n".join(lines)
    (folder / "expected.json").write_text(f'{head}, "cases": {{\n{body}\n}}}}\n')
    (folder / "TABLE.md").write_text(table(expected))


def read_expected(folder: Path) -> dict[str, Any]:
    """What expected.json says; empty if there is none."""
    path = folder / "expected.json"
    expected: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return expected


def regressions(
    expected: dict[str, Any], results: dict[str, Result], library: str, ran: bool
) -> list[str]:
    """What came less far than expected; of the same library and the same models only."""
    lines = [
        f"{name}: {result.best}: {result.problem.strip()}"
        for name, result in results.items()
        if result.best in _FAILURES
    ]
    if expected.get("library") != library:
        return lines
    for name, result in results.items():
        case = expected["cases"].get(name)
        if case is None or case["model"] != result.digest or result.best in _FAILURES:
            continue
        for key, stage in (("shipped", result.shipped), ("frozen", result.best)):
            if rank(stage) < rank(case[key]):
                lines.append(f"{name}: expected {key} {case[key]}, got {stage}: {result.problem}")
        if ran and case.get("run") == "right" and result.best != "right":
            lines.append(f"{name}: expected the right answer, got {result.problem}")
    return lines


def table(expected: dict[str, Any]) -> str:
    """TABLE.md."""
    rows: dict[str, Counter[str]] = {}
    for case in expected["cases"].values():
        for row in (rows.setdefault(case["operator"], Counter()), rows.setdefault("", Counter())):
            row["cases"] += 1
            for key in ("shipped", "frozen"):
                row[f"{key} parsed"] += rank(case[key]) >= rank("parsed")
                row[f"{key} built"] += rank(case[key]) >= rank("built")
            run = case.get("run")
            row["known"] += run is not None
            row["ran"] += run in ("wrong", "right")
            row["right"] += run == "right"
    total = rows.pop("")
    gpu = f", runs of {expected['gpu_date']}" if expected["gpu_date"] else ", not run on a GPU yet"
    lines = [
        "# ONNX's node tests by operator",
        "",
        f"Written by `run.py --update`: {expected['library']}, the node tests of ONNX "
        f"{expected['onnx']}, {expected['date']}{gpu}.",
        "What the columns mean, and why some answers are not right: [README.md](README.md).",
        "",
        "| operator | cases | parsed | built | frozen: parsed | frozen: built | ran | right |",
        "|---|---|---|---|---|---|---|---|",
        _row("**all**", total),
        *(_row(operator, row) for operator, row in sorted(rows.items())),
    ]
    return "\n".join(lines) + "\n"


def _row(operator: str, row: Counter[str]) -> str:
    keys = ("shipped parsed", "shipped built", "frozen parsed", "frozen built")
    run = [row["ran"], row["right"]] if row["known"] else ["", ""]
    cells = [operator, row["cases"], *(row[key] for key in keys), *run]
    return f"| {' | '.join(map(str, cells))} |"
