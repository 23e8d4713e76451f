"""Where the time of many requests goes, by `Engine.stats()`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from report import Report

import fasttrt


@contextmanager
def insight(report: Report, engine: fasttrt.Engine, title: str) -> Iterator[None]:
    """Print what the engine did meanwhile: batches, and the parts of a run and of a request."""
    before, start = engine.stats(), report.elapsed
    yield
    after, seconds = engine.stats(), report.elapsed - start

    def of(name: str) -> float:
        found: float = getattr(after, name) - getattr(before, name)
        return found

    runs = of("runs")
    if not runs:
        return
    batches = Counter(after.batch_sizes) - Counter(before.batch_sizes)
    found = {
        "runs_a_second": runs / seconds,
        "rows_a_run": of("rows") / runs,
        "replayed": of("graph_replays") / runs,
        "compiles": of("compiles"),
        "most_waiting": after.max_queue_depth,
        "queue_us": 1e6 * of("queue_seconds") / max(of("rows"), 1),
        "staging_us": 1e6 * of("staging_seconds") / runs,
        "compute_us": 1e6 * of("compute_seconds") / runs,
        "copy_out_us": 1e6 * of("copy_out_seconds") / runs,
    }
    common = ", ".join(f"{b}: {100 * n / runs:.0f} %" for b, n in batches.most_common(5))
    print(
        f"  {found['runs_a_second']:.0f} runs/s of {found['rows_a_run']:.1f} samples ({common}), "
        f"{100 * found['replayed']:.0f} % replayed, {found['compiles']:.0f} sizes compiled; a run: "
        f"staging {found['staging_us']:.0f} us, compute {found['compute_us']:.0f}, copies out "
        f"{found['copy_out_us']:.0f}; a sample waited {found['queue_us']:.0f} us"
    )
    report.row(case="insight", title=title, batches=dict(batches), **found)
