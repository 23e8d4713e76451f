"""Rewrite or refuse what TensorRT 8.6's ONNX parser silently misinterprets.

It supports opsets up to 17, and of some operators not even that. It reads newer models all the
same, and ignores the attributes and inputs that it does not know (its source: onnx-tensorrt,
release/8.6-EA, builtin_op_importers.cpp and ConditionalHelpers.cpp). Nodes that have a form in
opset 17 are rewritten; the rest is refused. Later parsers get nearly all of this right or refuse
it; the exceptions, by the source of 10.1, are a Loop without a trip count, a ConvTranspose with an
odd padding, and a GlobalLpPool with an odd p.
"""

from typing import TYPE_CHECKING

from fasttrt._common.log import logger
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.opset import onnx_version

if TYPE_CHECKING:
    from fasttrt._parser.pipeline import Target

_LATEST = 17


def warn_of_opset(model: OnnxModel, library: str) -> None:
    """Log that a model is newer than TensorRT 8.6's parser."""
    version = onnx_version(model.skeleton.opset_import)
    if version > _LATEST:
        logger.warning(
            "the model has opset %d, and %s supports up to %d. What it is known to misinterpret is "
            "rewritten or refused; check its results with fasttrt compare",
            version, library, _LATEST,
        )  # fmt: skip


def downgrade(model: OnnxModel, target: "Target") -> OnnxModel:
    """Rewrite for opset 17 what TensorRT 8.6 does not know; other libraries need no change.

    Raises:
        ParseError: nodes have no form in opset 17. Names them.
    """
    is_v8 = target.library.generation == "v8"
    return downgrade_to_v8(model, str(target.library)) if is_v8 else model


def downgrade_to_v8(model: OnnxModel, library: str) -> OnnxModel:
    """Rewrite a model for TensorRT 8.6; ``library`` is its name in messages."""
    # Imported here, since other libraries do not need it.
    from fasttrt._parser.downgrades_v8 import OPERATORS
    from fasttrt._parser.node_rules import apply_rules

    change = "its {op_type} is rewritten for opset 17, the newest that {library} supports"
    return apply_rules(model, library, OPERATORS, change)
