"""Search for the first node at which an engine and the reference diverge."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fasttrt._accuracy.dataflow import Graph, Node
from fasttrt._accuracy.metrics import OutputComparison
from fasttrt._common.log import logger
from fasttrt.errors import Error

Probe = Callable[[Sequence[str]], Mapping[str, OutputComparison]]
"""Compares these tensors; raises `Error` if they cannot be computed."""


@dataclass(frozen=True)
class Divergence:
    """The first node at which an engine and the reference diverge.

    An engine with intermediate tensors as outputs is a different engine: layers that were fused
    before may no longer be. ``confirmed`` means that in one engine that outputs the node's inputs
    and its result, the inputs agreed and the result did not.
    """

    node: int
    """The node's index in the model's graph."""
    name: str
    """The node's name; empty if it has none."""
    operator: str
    tensor: str
    """The node's output that differs."""
    comparison: OutputComparison
    """The comparison of that tensor."""
    confirmed: bool
    note: str
    """A remark, such as why it is not confirmed."""
    builds: int
    seconds: float

    def __str__(self) -> str:
        """Format the divergence as lines of a report."""
        name = f" '{self.name}'" if self.name else ""
        lines = [
            f"first divergence: node {self.node}{name} ({self.operator}), tensor {self.tensor}: "
            + "; ".join(self.comparison.reasons),
            f"  {self.note} ({self.builds} builds, {self.seconds:.1f} s)",
        ]
        return "\n".join(lines)


@dataclass
class Bisection:
    """A search among a node's ancestors, like that of ``git bisect`` among a commit's.

    A tensor that agrees clears all its ancestors; one that differs leaves only these as suspects.
    If errors cancel out, the former is wrong, so the resulting node is checked: its inputs must
    agree. If one differs, the search continues there.
    """

    graph: Graph
    probe: Probe
    probeable: frozenset[str]
    """Tensors that both sides can output."""
    max_builds: int
    time_budget: float
    _begin: float = field(default_factory=time.monotonic)
    _builds: int = 0
    _agreeing: int = 0
    """The nodes whose outputs agreed."""
    _refused: int = 0
    """The nodes whose outputs could not be compared."""

    def find(self, failing: Mapping[str, OutputComparison]) -> Divergence | None:
        """Find the first node that differs, given the failing outputs; None if there is none."""
        computed = {name: c for name, c in failing.items() if name in self.graph.producer}
        if not computed:
            return None
        # Start from the one with the fewest ancestors.
        tensor = min(computed, key=lambda name: self._ancestors(name).bit_count())
        comparison = computed[tensor]
        while True:
            tensor, comparison, exhausted = self._narrow(tensor, comparison)
            node = self.graph.producer[tensor]
            if exhausted or self._spent:
                left = (self._suspects(node)).bit_count()
                note = f"possibly not the first: the budget ended with {left} nodes left"
                return self._result(node, tensor, comparison, False, note)
            inputs = [name for name in node.inputs if self._is_open(name)]
            try:
                compared = self._compare([*inputs, tensor])
            except Error as error:
                note = f"not confirmed: with its inputs as outputs the model does not run: {error}"
                return self._result(node, tensor, comparison, False, note)
            differing = next((name for name in inputs if not compared[name].passed), None)
            if differing is not None:
                tensor, comparison = differing, compared[differing]
                # Nodes that were only inferred to agree are suspects again.
                continue
            if compared[tensor].passed:
                note = (
                    "not confirmed: with its inputs as outputs it agrees; it may differ when fused"
                )
                return self._result(node, tensor, comparison, False, note)
            unseen = [n for n in node.inputs if self._is_fed(n) and n not in inputs]
            if unseen:
                note = f"not confirmed: could not compare its input {', '.join(unseen)}"
                return self._result(node, tensor, compared[tensor], False, note)
            note = "its inputs agree"
            return self._result(node, tensor, compared[tensor], True, note)

    def _narrow(
        self, tensor: str, comparison: OutputComparison
    ) -> tuple[str, OutputComparison, bool]:
        """Narrow from a differing tensor until its ancestors are cleared, or the budget ends."""
        suspects = self._suspects(self.graph.producer[tensor])
        while node := self._middle(suspects, self.graph.producer[tensor]):
            if self._spent:
                return tensor, comparison, True
            names = [name for name in node.outputs if name in self.probeable]
            try:
                compared = self._compare(names)
            except Error as error:
                logger.info("cannot compare %s: %s", ", ".join(names), error)
                self._refused |= 1 << node.index
                continue
            differing = next((name for name in names if not compared[name].passed), None)
            if differing is None:
                self._agreeing |= 1 << node.index
                suspects &= ~self.graph.ancestors[node.index]
            else:
                tensor, comparison = differing, compared[differing]
                suspects &= self.graph.ancestors[node.index]
        return tensor, comparison, False

    def _middle(self, suspects: int, target: Node) -> Node | None:
        """Return the node that best halves the suspects."""
        best, chosen = -1, None
        total = suspects.bit_count()
        for node in self.graph.nodes:
            bit = 1 << node.index
            if not suspects & bit & ~self._refused or node is target:
                continue
            if not self.probeable.intersection(node.outputs):
                continue
            above = (self.graph.ancestors[node.index] & suspects).bit_count()
            if min(above, total - above) > best:
                best, chosen = min(above, total - above), node
        return chosen

    def _suspects(self, node: Node) -> int:
        return self.graph.ancestors[node.index] & self.graph.fed & ~self._agreeing

    def _ancestors(self, tensor: str) -> int:
        return self.graph.ancestors[self.graph.producer[tensor].index]

    def _is_fed(self, tensor: str) -> bool:
        """Return whether a tensor is computed by a node that depends on the model's inputs."""
        node = self.graph.producer.get(tensor)
        return node is not None and bool(self.graph.fed >> node.index & 1)

    def _is_open(self, tensor: str) -> bool:
        node = self.graph.producer.get(tensor)
        refused = node is not None and self._refused >> node.index & 1
        return self._is_fed(tensor) and tensor in self.probeable and not refused

    def _compare(self, names: Sequence[str]) -> Mapping[str, OutputComparison]:
        self._builds += 1
        return self.probe(names)

    @property
    def _spent(self) -> bool:
        return self._builds >= self.max_builds or self._seconds >= self.time_budget

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._begin

    def _result(
        self, node: Node, tensor: str, comparison: OutputComparison, confirmed: bool, note: str
    ) -> Divergence:
        return Divergence(
            node.index, node.name, node.operator, tensor, comparison, confirmed, note,
            self._builds, self._seconds,
        )  # fmt: skip
