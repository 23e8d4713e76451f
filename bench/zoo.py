"""Networks as people export them: whether each builds, how far off it is, how long it takes.

python bench/zoo.py --json zoo.json            # a table of all networks in fp32, fp16 and bf16
python bench/zoo.py --networks gpt2 lstm --no-times
python bench/zoo.py --tf32                     # float32 as it comes, with TF32

Each network has a process of its own. Times are taken one at a time, errors side by side, and the
error is that of the worst of four runs with the same inputs.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

if "--tf32" not in sys.argv:
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")  # what TensorRT-RTX heeds for fp32
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

Precision = Literal["fp32", "tf32", "fp16", "bf16"]
PRECISIONS: tuple[Precision, ...] = (
    "tf32" if "--tf32" in sys.argv else "fp32",
    "fp16",
    "bf16",
)


def measure(name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Export, build and run one network; give what was found so far after each step."""
    import torch

    import fasttrt
    from fasttrt._graph.model import OnnxModel
    from support.zoo import NETWORKS
    from support.zoo.exporting import export, make_module
    from support.zoo.running import engine_error, error, profile, run_torch, sizes_of, times

    torch.set_num_threads(2)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    network = NETWORKS[name]
    found: dict[str, Any] = {"name": name, "family": network.family}
    start = time.monotonic()
    module = make_module(network)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        try:
            if not options.torch_only:
                export(module, network, path)
        except Exception as problem:
            found["export_dynamic"] = str(problem.__cause__ or problem)[:300]
            export(module, network, path, dynamic=False)
        found["export_s"] = time.monotonic() - start
        shapes = None if options.torch_only else profile(network, OnnxModel(path))
        found["dynamic"] = sorted(shapes or ())
        module = module.to(options.device)
        runs = [network.draw(i + 1, sizes) for i, sizes in enumerate(sizes_of(network))]
        runs = runs if shapes or not network.dynamic else runs[:1]
        others = [network.draw(60 + i, sizes) for i, sizes in enumerate(sizes_of(network))]
        others = others[: len(runs)]
        expected = [run_torch(module, x) for x in runs]
        other = run_torch(module, network.draw(50, network.all_sizes()))
        found["other_inputs"] = error(other, expected[0])
        yield found
        for precision in () if options.torch_only else PRECISIONS:
            entry: dict[str, Any] = {}
            found[precision] = entry
            begin = time.monotonic()
            try:
                with fasttrt.Engine(
                    path, device="auto" if options.device == "cpu" else "cuda",
                    precision=precision, shapes=shapes, cache=False,
                ) as engine:  # fmt: skip
                    entry["open_s"] = time.monotonic() - begin
                    errors = []
                    for x, z, y in zip(runs, others, expected, strict=True):
                        errors.append(engine_error(engine, x, z, y))
                        entry["errors"] = errors
                    entry["error"] = max(errors)
                    if options.times:
                        with alone():
                            entry["us"] = engine_time(engine, runs[0])
                    entry["changes"] = plan_changes(engine)
            except Exception as problem:
                entry["problem"] = f"{type(problem).__name__}: {str(problem)[:600]}"
            yield found
        for precision, dtype in (("fp16", torch.float16), ("bf16", torch.bfloat16)):
            try:
                found.setdefault(precision, {})
                half = make_module(network).to(options.device).to(dtype)
                found[precision]["torch_error"] = error(
                    run_torch(half, runs[0], dtype), expected[0]
                )
                if options.times and precision == "fp16":
                    found.update(torch_times(half, runs[0], dtype, times, options))
            except Exception as problem:  # such as a type that the module itself names
                found[precision]["torch_problem"] = str(problem)[:300]
            yield found


def plan_changes(engine: Any) -> list[str]:
    """Give what the log said of the placement of casts, if anything."""
    metadata = getattr(getattr(engine, "_backend", None), "metadata", None) or {}
    return [line for line in metadata.get("changes", ()) if "placed" in line]


def engine_time(engine: Any, inputs: dict[str, Any]) -> float:
    """Give the time of a run with inputs and outputs on the GPU."""
    import torch

    from support.zoo.running import times

    given = {name: torch.from_numpy(x).cuda() for name, x in inputs.items()}

    def run() -> None:
        engine.infer(given)
        torch.cuda.synchronize()

    return times(run)


def torch_times(half: Any, inputs: Any, dtype: Any, times: Any, options: Any) -> dict[str, float]:
    """Give PyTorch's times in float16, as it is and compiled."""
    import torch

    given = [torch.from_numpy(x).cuda() for x in inputs.values()]
    given = [x.to(dtype) if x.is_floating_point() else x for x in given]
    found = {}

    def run(module: Any) -> Any:
        def call() -> None:
            with torch.no_grad():
                module(*given)
            torch.cuda.synchronize()

        return call

    with alone():
        found["torch_us"] = times(run(half))
    if options.compiled:
        with contextlib.suppress(Exception):
            compiled = torch.compile(half, mode="reduce-overhead")
            for _ in range(4):
                run(compiled)()
            with alone():
                found["compiled_us"] = times(run(compiled))
    return found


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Keep the other processes of this script from timing meanwhile."""
    with Path(os.environ.get("FASTTRT_ZOO_LOCK", os.devnull)).open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def table(results: list[dict[str, Any]]) -> str:
    """Format the results in Markdown; what is wrong is bold."""
    from support.zoo.running import allowed

    columns = "network", "family", *PRECISIONS, "torch fp16", "torch bf16"
    timed = *(f"{p} us" for p in PRECISIONS), "eager us", "compiled us"
    lines = [f"| {' | '.join((*columns, *timed))} |", "|---" * 12 + "|"]

    def number(value: Any, form: str = ".1e") -> str:
        return "" if value is None else format(value, form)

    def judged(precision: str, entry: dict[str, Any]) -> str:
        if "error" not in entry:
            return "**fails**" if "problem" in entry else ""
        limit = allowed(precision, entry.get("torch_error"))
        text = number(entry["error"])
        return text if entry["error"] < limit else f"**{text}**"

    for found in results:
        precise = [found.get(p, {}) for p in PRECISIONS]
        cells = [found["name"], found.get("family", "")]
        cells += [judged(p, found.get(p, {})) for p in PRECISIONS]
        cells += [number(p.get("torch_error")) for p in precise[1:]]
        cells += [number(p.get("us"), ".0f") for p in precise]
        cells += [number(found.get(key), ".0f") for key in ("torch_us", "compiled_us")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def merged(files: list[Path]) -> list[dict[str, Any]]:
    """Give the results of several runs by network; later ones count."""
    from support.zoo import NETWORKS

    found: dict[str, dict[str, Any]] = {}
    for file in files:
        for result in json.loads(file.read_text()):
            known = found.setdefault(result["name"], {})
            for key, value in result.items():
                if isinstance(value, dict):
                    known[key] = {**known.get(key, {}), **value}
                else:
                    known[key] = value
    return [found[name] for name in NETWORKS if name in found]


class Worker:
    """A process that measures one network after another; a new one where it ends or hangs."""

    def __init__(self, folder: Path, timeout: float) -> None:
        self._folder, self._timeout = folder, timeout
        self._process: subprocess.Popen[str] | None = None

    def measure(self, name: str) -> tuple[dict[str, Any], str]:
        """Give what was found, and how it ended if not well."""
        if self._process is None or self._process.poll() is not None:
            command = [sys.executable, __file__, *sys.argv[1:], "--worker", str(self._folder)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                stderr=(self._folder / f"{name}.log").open("w"),
            )  # fmt: skip
        process, end = self._process, ""
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{name}\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], self._timeout)[0]:
            end = "timeout"
        elif process.stdout.readline() != "done\n":
            end = f"exit status {process.wait()}"
        if end:
            self.close()
        file = self._folder / f"{name}.json"
        return (json.loads(file.read_text()) if file.exists() else {"name": name}), end

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def work(options: argparse.Namespace) -> int:
    """Measure the networks whose names come."""
    sys.stdout, answers = sys.stderr, sys.stdout  # what libraries print
    for line in sys.stdin:
        name = line.strip()
        file = options.worker / f"{name}.json"
        try:
            for found in measure(name, options):
                file.write_text(json.dumps(found))
        except Exception as problem:
            found = json.loads(file.read_text()) if file.exists() else {"name": name}
            found["end"] = f"{type(problem).__name__}: {str(problem)[-500:]}"
            file.write_text(json.dumps(found))
        answers.write("done\n")
        answers.flush()
        if options.device != "cpu" and not gpu_is_well():
            return 1  # a fault of one network would be reported for all that follow
    return 0


def gpu_is_well() -> bool:
    """Tell whether this process can still use the GPU."""
    import torch

    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="*", help="some of them only")
    parser.add_argument("--but", nargs="*", default=(), help="all but these")
    parser.add_argument("--jobs", type=int, default=4, help="processes side by side")
    parser.add_argument("--budget", type=float, default=1e9, help="seconds after which none starts")
    parser.add_argument("--timeout", type=float, default=180, help="seconds for one network")
    parser.add_argument("--no-times", dest="times", action="store_false")
    parser.add_argument("--no-compiled", dest="compiled", action="store_false")
    parser.add_argument("--tf32", action="store_true", help="float32 with TF32, not without")
    parser.add_argument("--torch-only", action="store_true", help="measure PyTorch alone")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--json", type=Path, default=Path("zoo.json"))
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--table", nargs="+", type=Path, help="print that of earlier results")
    options = parser.parse_args()
    if options.table:
        print(table(merged(options.table)))
        return 0
    if options.worker:
        return work(options)
    from support.zoo import NETWORKS

    names = [n for n in options.networks or NETWORKS if n not in options.but]
    results: dict[str, dict[str, Any]] = {}
    start = time.monotonic()
    waiting = iter(names)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FASTTRT_ZOO_LOCK"] = str(Path(folder, "lock"))

        def drain(number: int) -> None:
            worker = Worker(Path(folder), options.timeout)
            for name in waiting:
                if time.monotonic() - start > options.budget:
                    break
                found, end = worker.measure(name)
                found["family"] = NETWORKS[name].family
                if end:
                    found["end"] = end
                results[name] = found
                ordered = [results[n] for n in names if n in results]
                options.json.write_text(json.dumps(ordered, indent=1))
                short = [found.get(p, {}).get("error", float("nan")) for p in PRECISIONS]
                took = time.monotonic() - start
                print(f"{took:5.0f} s {name}:", *(f"{e:.1e}" for e in short),
                      str(found.get("end", ""))[-150:], flush=True)  # fmt: skip
            worker.close()

        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(drain, range(options.jobs)))
    print(table([results[n] for n in names if n in results]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
