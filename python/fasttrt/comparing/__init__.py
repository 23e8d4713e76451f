"""Proof of accuracy: an engine's answers held against a reference's.

`compare` runs both, `Comparison` is what it finds, `Divergence` the first node at which they part.
"""

from fasttrt.comparing.bisection import Divergence
from fasttrt.comparing.comparison import Comparison
from fasttrt.comparing.metrics import OutputComparison
from fasttrt.comparing.running import compare
from fasttrt.comparing.thresholds import Thresholds

__all__ = ["Comparison", "Divergence", "OutputComparison", "Thresholds", "compare"]
