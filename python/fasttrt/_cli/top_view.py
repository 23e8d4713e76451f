"""What ``fasttrt top`` shows, as lines of text."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fasttrt._cli.top_rates import ModelRates
from fasttrt._common.tables import Column, name, number, render, wrap

_MODELS = (
    name("model"), Column("state"), Column("device"), number("requests"), number("req/s"),
    number("rows/s"), number("fail/s"), number("queue"), number("p50 ms"), number("p90 ms"),
    number("p99 ms"), number("memory"),
)  # fmt: skip
_GPUS = (name("GPU"), number("busy"), number("memory"), number("of"), number("power"))


def lines(
    state: Mapping[str, Any], models: Sequence[ModelRates], url: str, width: int | None = None
) -> list[str]:
    """Return everything, fitted to a terminal's width; None for no limit."""
    server = state["server"]
    ready = "ready" if state["ready"] else "not ready"
    up = _duration(state["uptime_seconds"])
    shown = wrap([f"{server['name']} {server['version']} at {url}: {ready}, up {up}"], width)
    if not models:
        return [*shown, "", "no models"]
    shown += ["", *render(_MODELS, [_model(model) for model in models], width)]
    busy = [model for model in models if model.batch_sizes]
    if busy:
        shown += ["", *_batches(busy, width)]
    if state["gpus"]:
        shown += ["", *render(_GPUS, [_gpu(gpu) for gpu in state["gpus"]], width)]
    for model in models:
        if model.reason:
            shown += ["", *wrap([f"{_name(model)}: {model.reason}"], width)]
    return shown


def _model(model: ModelRates) -> list[str]:
    if not model.device:  # it is not loaded
        return [_name(model), model.state, *[""] * (len(_MODELS) - 2)]
    latency = [_significant(ms) for ms in model.latency_ms] or [""] * 3
    return [
        _name(model), model.state, model.device if model.in_memory else "not in memory",
        str(model.requests),
        _significant(model.requests_per_second), _significant(model.rows_per_second),
        _significant(model.failures_per_second), str(model.pending), *latency,
        _bytes(model.memory_bytes) if model.memory_bytes else "",
    ]  # fmt: skip


def _batches(models: Sequence[ModelRates], width: int | None) -> list[str]:
    """Return the share of each size among the runs of models."""
    shares = []
    for model in models:
        counts: Counter[int] = Counter()
        for size, runs in model.batch_sizes.items():
            counts[_class(size)] += runs
        shares.append(counts)
    known = range(min(map(min, shares)), max(map(max, shares)) + 1)
    columns = [name("batch sizes"), number("mean"), *(number(_sizes(c)) for c in known)]
    rows = [
        [_name(model), _significant(model.mean_batch or 0.0)]
        + [f"{counts[c] / counts.total():.0%}" if counts[c] else "" for c in known]
        for model, counts in zip(models, shares, strict=True)
    ]
    return render(columns, rows, width)


def _class(size: int) -> int:
    """Return which power of two a size is not above."""
    return max(size - 1, 0).bit_length()


def _sizes(index: int) -> str:
    high = 1 << index
    low = high // 2 + 1
    return f"{low}-{high}" if low < high else str(high)


def _gpu(gpu: Mapping[str, Any]) -> list[str]:
    def shown(key: str, form: str) -> str:
        return form.format(gpu[key]) if key in gpu else ""

    return [
        f"{gpu.get('name', '')} {gpu['uuid']}".strip(),
        shown("gpu_utilization", "{:.0%}"),
        *(_bytes(gpu[key]) if key in gpu else ""
          for key in ("gpu_memory_used_bytes", "gpu_memory_total_bytes")),
        shown("gpu_power_usage", "{:.0f} W"),
    ]  # fmt: skip


def _name(model: ModelRates) -> str:
    return f"{model.name}/{model.version}" if model.version else model.name


def _significant(value: float) -> str:
    """Write a number with three digits that matter, and all before the point."""
    if value == 0 or value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _bytes(size: int) -> str:
    from rich.filesize import decimal

    return decimal(size)


def _duration(seconds: float) -> str:
    minutes, whole = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"), (whole, "s"))
    named = [f"{count} {unit}" for count, unit in parts if count]
    return " ".join(named[:2]) or "0 s"
