"""What the benchmarks share: tables, targets, and the JSON file with all numbers."""

from __future__ import annotations

import argparse
import faulthandler
import json
import math
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from machine import machine
from measure import Contestant, LeftOutError, Stats, summarize
from models import Arrays, Network


class Report:
    """Prints what is measured, and keeps it for the JSON file."""

    def __init__(self, script: str, options: argparse.Namespace) -> None:
        """Say where this runs."""
        self.options = options
        # A hang must not take more of the GPU's time than this.
        faulthandler.dump_traceback_later(options.timeout, exit=True)
        self._start = time.perf_counter()
        self._case = ""
        self._targets: list[str] = []
        self._content: dict[str, Any] = {
            "script": script,
            "arguments": {k: str(v) for k, v in vars(options).items()},
            "machine": machine(options.device),
            "rows": [],
            "values": {},
            "targets": [],
            "failures": [],
            "skipped": [],
            "seconds": {},
        }
        for name, value in self._content["machine"].items():
            print(f"{name:12} {value}")

    @property
    def gpu(self) -> str:
        """What runs, for a plot's title."""
        name: str = self._content["machine"].get("gpu", self.options.device)
        return name.partition(" (")[0]

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._start

    def run(
        self, name: str, case: Callable[..., Any], *arguments: Any, needs: float = 0
    ) -> Any | None:
        """What a case returns; None if it failed, after its traceback.

        Args:
            name: of the case.
            case: what to call.
            arguments: for it.
            needs: about how many seconds it takes, if it may be left out for lack of time.
        """
        if needs and (self.options.quick or self.elapsed + needs > self.options.budget):
            why = "--quick" if self.options.quick else f"--budget {self.options.budget:.0f}"
            print()
            self.leave_out(name, why)
            return None
        print(f"\n## {name}", flush=True)
        before, self._case = self.elapsed, name
        try:
            return case(*arguments)
        except (ImportError, LeftOutError) as problem:
            self.leave_out(name, problem)
            return None
        except Exception:
            self._fail(name)
            return None
        finally:
            took = self._content["seconds"][name] = self.elapsed - before
            print(f"({name}: {took:.1f} s, {self.elapsed:.1f} s in all)", flush=True)
            self._write()

    def compete(
        self, network: Network, contestants: Sequence[Contestant], right: Sequence[Arrays],
        rounds: int, count: int, batch: int = 1,
    ) -> dict[str, Stats]:  # fmt: skip
        """Check all answers, run the contestants in turns, print what they took.

        One that fails is left out, and the case with it fails in the end.
        """
        running = []
        for contestant in contestants:
            if self.attempt(contestant.name, contestant.check, network, right):
                running.append(contestant)
        for i in range(rounds):
            start = i * len(running) // rounds  # each begins another round, and follows another
            turn = [*running[start:], *running[:start]]
            for contestant in turn if i % 2 == 0 else turn[::-1]:
                if contestant in running and not self.attempt(
                    contestant.name, contestant.run, count
                ):
                    running.remove(contestant)
        for contestant in running[:]:  # what was timed last was right, too
            if not self.attempt(contestant.name, contestant.check, network, right):
                running.remove(contestant)
        self._table(network, running, batch)
        return {contestant.name: contestant.stats for contestant in running}

    def attempt(self, name: str, action: Callable[..., Any], *given: Any) -> Any:
        """What a part of a case returns, True for None; False if it failed or is left out."""
        try:
            result = action(*given)
        except (ImportError, LeftOutError) as problem:
            self.leave_out(name, problem)
            return False
        except Exception:
            self._fail(name)
            return False
        return True if result is None else result

    def leave_out(self, name: str, why: object) -> None:
        """Say so, which is no failure."""
        print(f"LEFT OUT: {name} ({why})", flush=True)
        self._content["skipped"].append({"case": name, "why": str(why)})

    def _fail(self, name: str) -> None:
        text = traceback.format_exc()
        case = name if name == self._case else f"{self._case}: {name}"
        print(f"FAILED: {case}\n{text}", flush=True)
        self._content["failures"].append({"case": case, "traceback": text})

    def _table(self, network: Network, contestants: Sequence[Contestant], batch: int) -> None:
        names = Stats._fields[1:]
        head = f"{'':54} {'transfers':>9} {'graph':>9} {'wait':>9} " + " ".join(
            f"{name:>8}" for name in names
        )
        print(f"{network.name}, batch {batch}: wall-clock time of a call in us\n{head}")
        for contestant in contestants:
            stats = contestant.stats
            values = " ".join(f"{getattr(stats, name):8.1f}" for name in names)
            print(
                f"{contestant.name:54} {contestant.transfers:>9} {contestant.graph:>9} "
                f"{contestant.wait:>9} {values}"
            )
            medians = [summarize(times).median for times in contestant.times]
            self.row(
                network=network.name, batch=batch, case=contestant.name,
                transfers=contestant.transfers, graph=contestant.graph, wait=contestant.wait,
                us=stats._asdict(), medians_of_rounds=medians,
            )  # fmt: skip

    def row(self, **values: Any) -> None:
        """Keep a line of a table."""
        self._content["rows"].append(values)

    def value(self, name: str, value: float, unit: str = "us") -> None:
        """Print a single number and keep it."""
        print(f"{name}: {value:.2f} {unit}")
        known = value if math.isfinite(value) else str(value)  # JSON has no infinity
        self._content["values"][name] = {"value": known, "unit": unit}

    def target(self, name: str, text: str, *, got: float | None, limit: float, most: bool) -> None:
        """Print whether a target is met.

        Args:
            name: of the case.
            text: of what is compared, and with what.
            got: the difference or ratio; None if it was not measured.
            limit: its limit.
            most: whether that is the most it may be, else the least.
        """
        bound = f"{'at most' if most else 'at least'} {limit:g}"
        if got is None:
            met, line = None, f"NOT MEASURED  {name}: {text}, {bound}"
        else:
            met = got <= limit if most else got >= limit
            line = f"{'MET' if met else 'NOT MET':13} {name}: {text} = {got:.3f}, {bound}"
        print(line)
        self._targets.append(line)
        entry = {"case": name, "what": text, "got": got, "limit": limit, "most": most, "met": met}
        self._content["targets"].append(entry)

    def gpu_target(
        self, name: str, text: str, *, got: float | None, limit: float, most: bool
    ) -> None:
        """Print whether a target is met, of what only a GPU can show: see `target`."""
        found = None if self.options.device == "cpu" else got
        self.target(name, text, got=found, limit=limit, most=most)

    def finish(self) -> int:
        """Repeat the targets, write the file; the exit status."""
        print("\n## Targets")
        print("\n".join(self._targets) or "none")
        failures = [failure["case"] for failure in self._content["failures"]]
        if failures:
            print(f"FAILED: {', '.join(failures)}")
        faulthandler.cancel_dump_traceback_later()
        self._content["seconds"]["all"] = self.elapsed
        print(f"{self.elapsed:.1f} s")
        self._write()
        return 1 if failures else 0

    def _write(self) -> None:
        """After each case, so that what was measured survives a kill."""
        if self.options.json is not None:
            text = json.dumps(self._content, indent=1, default=float)
            Path(self.options.json).write_text(text + "\n")
