"""The lists of passes, in order: see `pipeline`."""

from fasttrt._graph.constant_folding import folded
from fasttrt._graph.model import OnnxModel
from fasttrt._parser.attention import write_attention
from fasttrt._parser.branch_outputs import write_branch_outputs
from fasttrt._parser.branch_shapes import reject_branch_shapes
from fasttrt._parser.constant_validity import check_constants
from fasttrt._parser.counted_loops import drop_conditions
from fasttrt._parser.exact_forms import write_exact_forms
from fasttrt._parser.graph_order import order_nodes
from fasttrt._parser.group_normalization import write_group_normalization
from fasttrt._parser.local_functions import inline_functions
from fasttrt._parser.nan_propagation import propagate_nan
from fasttrt._parser.narrow_integers import carry_narrow_integers
from fasttrt._parser.node_validity import check_nodes
from fasttrt._parser.odd_products import fill_odd_products
from fasttrt._parser.old_opsets import upgrade_old_opset
from fasttrt._parser.pipeline import Pass, Target
from fasttrt._parser.quantized_operators import write_quantized_operators
from fasttrt._parser.quantized_tables import dequantize_tables
from fasttrt._parser.quirks import refuse_misread, spelled_out
from fasttrt._parser.quirks_v8 import written_for
from fasttrt._parser.recurrent import unroll_recurrent
from fasttrt._parser.recurrent_layout import put_time_first
from fasttrt._parser.repeated_outputs import write_repeated_outputs
from fasttrt._parser.sequences import slice_sequences
from fasttrt._parser.sparse_tensors import write_dense
from fasttrt._parser.transposed_products import write_transposed_products


def fold_constants(model: OnnxModel, target: Target) -> OnnxModel:
    """Replace what follows from constants by its value."""
    return folded(model)


def write_defaults(model: OnnxModel, target: Target) -> OnnxModel:
    """Write out the default attributes for which the parser takes other values."""
    return spelled_out(model)


def reject_unsupported(model: OnnxModel, target: Target) -> OnnxModel:
    """Refuse what the parser would take for something else, or crash at."""
    refuse_misread(model, target.library, target.has_plugins)
    return model


def downgrade(model: OnnxModel, target: Target) -> OnnxModel:
    """Write what TensorRT 8.6 does not know in the form of opset 17."""
    return written_for(model, target.library)


PASSES: tuple[Pass, ...] = (
    inline_functions,
    order_nodes,
    check_nodes,
    write_dense,
    upgrade_old_opset,
    fold_constants,
    check_constants,
    write_quantized_operators,
    dequantize_tables,
    carry_narrow_integers,
    put_time_first,
    slice_sequences,
    write_defaults,
    write_repeated_outputs,
    propagate_nan,
    write_exact_forms,
    write_branch_outputs,
    drop_conditions,
    reject_branch_shapes,
    reject_unsupported,
    unroll_recurrent,
)

# After the conversion to a precision, which some of them go by.
FINAL_PASSES: tuple[Pass, ...] = (
    write_group_normalization,
    write_attention,
    fill_odd_products,
    write_transposed_products,
    downgrade,
)
