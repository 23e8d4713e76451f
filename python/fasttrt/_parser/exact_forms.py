"""Rewrite nodes for which TensorRT's results differ from ONNX's in a form where they do not.

Found on an H200 with TensorRT-RTX 1.6.1, by operator, type and attribute.
"""

from typing import TYPE_CHECKING

from fasttrt._graph.model import OnnxModel
from fasttrt._parser import (
    arithmetic,
    bounds,
    loops,
    nearest_resize,
    pooling,
    powers,
    recurrent_clips,
    remainders,
    scatter_indices,
    transposed_convolution,
    wide_sums,
)
from fasttrt._parser.node_rules import Rule, apply_rules

if TYPE_CHECKING:
    from fasttrt._parser.pipeline import Target

RULES: dict[str, Rule] = {
    **arithmetic.RULES,
    **bounds.RULES,
    **loops.RULES,
    **nearest_resize.RULES,
    **pooling.RULES,
    **powers.RULES,
    **recurrent_clips.RULES,
    **remainders.RULES,
    **scatter_indices.RULES,
    **transposed_convolution.RULES,
    **wide_sums.RULES,  # last: it extends the rules of others
}


def write_exact_forms(model: OnnxModel, target: "Target") -> OnnxModel:
    """Rewrite nodes whose results would differ; return the model itself if it has none.

    Raises:
        ParseError: nodes have no exact form. Names them, with the reason.
    """
    change = "{op_type} is rewritten in other operators, since {library} deviates from ONNX"
    return apply_rules(model, str(target.library), RULES, change)
