"""A network under test, and the ways in which fasttrt runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from measure import Contestant, build, open_engine, pinned_copy, replay_times
from models import Array, Arrays, Network
from plans import fixed_plan
from report import Report
from sessions import require_default

import fasttrt

SETS = 4  # of inputs, which take turns
FLOOR = "floor: a CUDA graph's replay, from C++"
CUDA = "infer(cuda, out=cuda)"
NUMPY = "infer(numpy)"


class Subject:
    """A network with its plan, its inputs and answers, and an engine as it comes."""

    def __init__(self, report: Report, network: Network, batch: int, largest: int) -> None:
        """Build for batches up to the largest, or for this one alone if it is that, and load."""
        self.network = network
        self.device = report.options.device
        self.on_gpu = self.device != "cpu"
        if not self.on_gpu:
            require_default(network.model)
        if batch == largest:
            self.plan = fixed_plan(network, self.device, batch)
        else:
            self.plan = build(network, self.device, opt=batch, largest=largest)
        self.engine = self.open()
        self.take(report, batch)

    def take(self, report: Report, batch: int) -> None:
        """Go over to another batch."""
        self.batch = batch
        self.xs, self.right = self.network.inputs(batch, SETS if self.on_gpu else 2)
        times = self.on_gpu and report.attempt(FLOOR, replay_times, self.engine, self.xs[0], 10)
        self.graph = "yes" if times else "auto" if self.on_gpu else "no"

    def open(self, **options: Any) -> fasttrt.Engine:
        """Another engine for the plan."""
        return open_engine(self.network, self.plan, self.device, **options)

    def targets(self) -> list[Arrays]:
        """Zeros for each of the results."""
        dtypes = [spec.dtype for spec in self.engine.outputs]
        return [
            tuple(y.astype(dtype) * 0 for y, dtype in zip(ys, dtypes, strict=True))
            for ys in self.right
        ]

    @property
    def floor(self) -> list[Contestant]:
        """How long the GPU and its driver take without us; nothing without a GPU."""
        if not self.on_gpu:
            return []
        replays = partial(replay_times, self.engine, self.xs[0])
        common: Any = {"transfers": "none", "graph": "yes", "replays": replays}
        return [Contestant(FLOOR, replays, self.xs, **common)]

    @property
    def plain(self) -> Contestant:
        """From numpy to numpy."""
        return Contestant(NUMPY, self.engine.infer, self.xs, graph=self.graph)


def into(infer: Callable[..., Any], inputs: int, wait: Callable[[], Any] | None = None) -> Any:
    """A call that writes into its last argument, the way a caller would."""

    def one(x: Any, y: Any) -> None:
        infer(x, out=y)

    def one_and_wait(x: Any, y: Any) -> None:
        infer(x, out=y)
        wait()  # type: ignore[misc]

    def many(*given: Any) -> None:
        infer(*given[:-1], out=given[-1])
        if wait is not None:
            wait()

    return many if inputs != 1 else one if wait is None else one_and_wait


def _paired(xs: Sequence[Arrays], ys: Sequence[Arrays]) -> list[tuple[Any, ...]]:
    """The inputs and, last, where the result goes."""
    return [(*x, y[0] if len(y) == 1 else y) for x, y in zip(xs, ys, strict=True)]


def on_host(subject: Subject) -> list[Contestant]:
    """With numpy arrays, page-locked or not."""
    infer = subject.engine.infer
    write = into(infer, len(subject.network.names))

    def locked(all_arrays: list[Arrays]) -> list[Arrays]:
        return [tuple(pinned_copy(a, subject.device) for a in arrays) for arrays in all_arrays]

    def last(result: Any, given: tuple[Any, ...]) -> list[Array]:
        targets = given[-1] if isinstance(given[-1], tuple) else given[-1:]
        answers = [target.copy() for target in targets]
        for target in targets:
            target[...] = 0  # so that none is taken for the next one
        return answers

    pinned = locked(subject.xs)
    results = _paired(subject.xs, subject.targets())
    pinned_results = _paired(pinned, locked(subject.targets()))
    graph: Any = {"graph": subject.graph}
    return [
        subject.plain,
        Contestant("infer(numpy, out=numpy)", write, results, last, **graph),
        Contestant("infer(pinned)", infer, pinned, **graph),
        Contestant("infer(pinned, out=pinned)", write, pinned_results, last, **graph),
    ]


def on_torch(subject: Subject) -> list[Contestant]:
    """With torch's tensors on the GPU, on torch's default stream and on another one."""
    import torch

    infer = subject.engine.infer
    inputs = [tuple(torch.from_numpy(x).cuda() for x in xs) for xs in subject.xs]
    side = torch.cuda.Stream()
    torch.cuda.synchronize()
    wait = torch.cuda.current_stream().synchronize

    def fresh(*xs: Any) -> Any:
        y = infer(*xs)
        wait()
        return y

    graph: Any = {"graph": subject.graph}
    targets = subject.targets()
    return [
        on_device(CUDA, infer, subject.xs, targets, **graph),
        on_device(f"{CUDA}, in a torch.cuda.Stream", infer, subject.xs, targets, side, **graph),
        Contestant("infer(cuda)", fresh, inputs, from_cuda, "none", wait="CUDA's", **graph),
    ]


def on_device(
    name: str, infer: Callable[..., Any], xs: Sequence[Arrays], ys: Sequence[Arrays],
    stream: Any = None, graph: str = "auto",
) -> Contestant:  # fmt: skip
    """``infer(cuda, out=cuda)``, until the GPU is done.

    Args:
        name: of the contestant.
        infer: an engine's.
        xs: inputs, which are copied to the GPU.
        ys: arrays like the results.
        stream: of torch's; None: its current one.
        graph: whether CUDA graphs are replayed.
    """
    import torch

    inputs = [tuple(torch.from_numpy(x).cuda() for x in all_x) for all_x in xs]
    targets = [tuple(torch.from_numpy(y).cuda().zero_() for y in all_y) for all_y in ys]
    torch.cuda.synchronize()
    queue = torch.cuda.current_stream() if stream is None else stream

    def last(result: Any, given: tuple[Any, ...]) -> list[Array]:
        targets = given[-1] if isinstance(given[-1], tuple) else given[-1:]
        answers = [target.cpu().numpy().copy() for target in targets]
        for target in targets:
            target.zero_()
        torch.cuda.synchronize()
        return answers

    return Contestant(
        name, into(infer, len(xs[0]), queue.synchronize), _paired(inputs, targets), last,
        transfers="none", graph=graph, wait="CUDA's", around=partial(torch.cuda.stream, queue),
    )  # fmt: skip


def from_cuda(result: Any, given: tuple[Any, ...]) -> list[Array]:
    """What torch's tensors hold."""
    results = result if isinstance(result, (tuple, list)) else (result,)
    return [y.cpu().numpy() for y in results]


def on_cupy(subject: Subject) -> list[Contestant]:
    """With CuPy's arrays on the GPU."""
    import cupy

    inputs = [tuple(map(cupy.asarray, xs)) for xs in subject.xs]
    pairs = _paired(inputs, [tuple(map(cupy.asarray, ys)) for ys in subject.targets()])
    wait = cupy.cuda.get_current_stream().synchronize
    wait()

    def last(result: Any, given: tuple[Any, ...]) -> list[Array]:
        targets = given[-1] if isinstance(given[-1], tuple) else given[-1:]
        answers = [cupy.asnumpy(target) for target in targets]
        for target in targets:
            target.fill(0)
        wait()
        return answers

    common: Any = {"transfers": "none", "graph": subject.graph, "wait": "CUDA's"}
    write = into(subject.engine.infer, len(subject.network.names), wait)
    return [Contestant("infer(cupy, out=cupy)", write, pairs, last, **common)]
