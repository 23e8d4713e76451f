"""What rate any batcher can reach with so many clients that each wait for their answer.

python bench/batcher_model.py --clients 32 64 --times 1:364,2:400,4:470,8:638,16:950,32:1577

Each of N clients sends its next sample when it has the answer to its last one, and the GPU runs one
batch at a time. When a batch of a samples ends, the other N - a clients may all be waiting, so that
the next batch can begin at once if it is no larger than that. If it has b > N - a samples, it also
needs the first k = a + b - N clients of the batch that has just ended, and the GPU waits for them:
until the first is awake, Python has handled k requests, one after the other, and the k-th sample is
copied. So a batch and the wait after it take at least T(a) + W(a + b - N), with

    W(k) = 0 for k <= 0, else wake + k python + copy.

W depends on the sum of two neighbours alone. So the time of any sequence of batches is the sum over
its neighbours of (T(a) + T(b)) / 2 + W(a + b - N), in which (a + b) / 2 samples are run, and no
sequence is faster than its best pair of neighbours, repeated for ever: the bound is the largest
(a + b) / (T(a) + T(b) + 2 W(a + b - N)) of all pairs. It holds for every way to gather, whatever
that knows about the future. It leaves out what makes real batchers slower: clients that come back
late, and results that are copied back. A batcher can come above it only where runs of several
contexts overlap on the GPU.
"""

from __future__ import annotations

import argparse
import bisect
import math
from collections.abc import Mapping
from itertools import combinations_with_replacement
from typing import NamedTuple


class Host(NamedTuple):
    """What a request takes beside the GPU's runs, in microseconds."""

    wake: float = 10.0
    """From the end of a batch until the first of its clients runs."""
    python: float = 10.0
    """In Python, which handles one request at a time."""
    copy: float = 20.0
    """Until a sample is on the GPU; clients copy side by side."""

    def wait(self, needed: int) -> float:
        """How long the GPU waits for so many clients of the batch before."""
        return self.wake + self.python * needed + self.copy if needed > 0 else 0.0


class Bound(NamedTuple):
    """The most samples a second, and the two batches that reach it in turns."""

    rate: float
    batches: tuple[int, int]

    def __str__(self) -> str:
        """In a line."""
        first, second = self.batches
        sizes = f"{first}" if first == second else f"{first} and {second} in turns"
        return f"{self.rate:.0f} samples/s with batches of {sizes}"


def bound(times: Mapping[int, float], clients: int, host: Host, gpus: int = 1) -> Bound:
    """Return the best rate that any batcher can reach.

    Args:
        times: T(b), the microseconds of a batch of each size; others are padded to the next.
        clients: the number of clients, each with one sample at a time.
        host: what requests take on the host.
        gpus: the number of GPUs, which share the clients evenly.
    """
    sizes = sorted(times)
    each = max(clients // gpus, 1)
    best = Bound(0.0, (0, 0))
    for pair in combinations_with_replacement(range(1, min(each, sizes[-1]) + 1), 2):
        runs = sum(times[sizes[bisect.bisect_left(sizes, batch)]] for batch in pair)
        rate = 1e6 * sum(pair) / (runs + 2 * host.wait(sum(pair) - each))
        best = max(best, Bound(rate, pair))
    most = 1e6 / host.python if host.python > 0 else math.inf
    return best._replace(rate=min(gpus * best.rate, most))


def parse_times(text: str) -> dict[int, float]:
    """Read ``SIZE:MICROSECONDS`` pairs."""
    pairs = (pair.split(":") for pair in text.split(","))
    return {int(size): float(time) for size, time in pairs}


def main() -> int:
    """Print the bound for each number of clients."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--times", type=parse_times, required=True, help="T(b) in us, by b")
    parser.add_argument("--gpus", type=int, default=1)
    for name, value in Host()._asdict().items():
        parser.add_argument(f"--{name}", type=float, default=value, help=f"us; {value:g}")
    options = parser.parse_args()
    host = Host(options.wake, options.python, options.copy)
    for clients in options.clients:
        print(f"{clients} clients: {bound(options.times, clients, host, options.gpus)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
