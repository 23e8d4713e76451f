"""What TensorRT 8.6's ONNX parser takes otherwise than ONNX means it, without a word.

It knows opsets up to 17, and of some operators not even that. It reads newer models all the same,
and leaves out the attributes and inputs that it does not know (its source: onnx-tensorrt,
release/8.6-EA, builtin_op_importers.cpp and ConditionalHelpers.cpp). What has an older form is
written so; the rest is refused. The later parsers get nearly all of this right or refuse it; by the
source of 10.1 not a Loop without a trip count, a ConvTranspose with an odd padding, and a
GlobalLpPool with an odd p.
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
            "the model is of ONNX's opset %d, and %s knows up to %d. What it is known to misread "
            "is written otherwise or refused; fasttrt compare tells whether its answers are right",
            version, library, _LATEST,
        )  # fmt: skip


def downgrade(model: OnnxModel, target: "Target") -> OnnxModel:
    """Write what TensorRT 8.6 does not know in the form of opset 17; other libraries need none.

    Raises:
        ParseError: nodes have no older form; the message names them.
    """
    is_v8 = target.library.generation == "v8"
    return downgrade_to_v8(model, str(target.library)) if is_v8 else model


def downgrade_to_v8(model: OnnxModel, library: str) -> OnnxModel:
    """Do so for TensorRT 8.6, whose name for messages is given."""
    # Here, as the others need none of it. Of local functions its parser knows nothing, so they are
    # refused.
    from fasttrt._parser.downgrades_v8 import OPERATORS
    from fasttrt._parser.node_rules import apply_rules

    change = "written as an older {op_type}, as {library} knows no other"
    return apply_rules(model, library, OPERATORS, change)
