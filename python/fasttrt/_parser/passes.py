"""List the passes in order, each a ``(model, target) -> model`` in a file of its own: `pipeline`.

A new pass is a line here, and a file. It reads `OnnxModel.skeleton` and `TensorInfo`, modifies an
`OnnxModel.copy_skeleton`, and passes that to `OnnxModel.changed` with a line for each change; it
returns the model itself if it has nothing to do.
"""

from fasttrt._graph.constant_folding import fold_constants
from fasttrt._parser.attention import write_attention
from fasttrt._parser.branch_outputs import write_branch_outputs
from fasttrt._parser.branch_shapes import reject_branch_shapes
from fasttrt._parser.constant_validity import check_constants
from fasttrt._parser.convolution_sums import separate_convolutions
from fasttrt._parser.counted_loops import drop_conditions
from fasttrt._parser.exact_forms import write_exact_forms
from fasttrt._parser.graph_order import order_nodes
from fasttrt._parser.group_normalization import write_group_normalization
from fasttrt._parser.local_functions import inline_functions
from fasttrt._parser.multiplied_activations import separate_activations
from fasttrt._parser.nan_propagation import propagate_nan
from fasttrt._parser.narrow_integers import promote_narrow_integers
from fasttrt._parser.node_validity import check_nodes
from fasttrt._parser.odd_products import pad_odd_products
from fasttrt._parser.old_opsets import upgrade_old_opset
from fasttrt._parser.phase_convolutions import write_phase_convolutions
from fasttrt._parser.pipeline import Pass
from fasttrt._parser.quantized_operators import write_quantized_operators
from fasttrt._parser.quantized_tables import dequantize_tables
from fasttrt._parser.quirks import reject_unsupported, write_default_attributes
from fasttrt._parser.quirks_v8 import downgrade
from fasttrt._parser.recurrent import unroll_recurrent
from fasttrt._parser.recurrent_layout import put_time_first
from fasttrt._parser.repeated_outputs import write_repeated_outputs
from fasttrt._parser.sequences import slice_sequences
from fasttrt._parser.sparse_tensors import write_dense
from fasttrt._parser.transposed_products import write_transposed_products

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
    promote_narrow_integers,
    put_time_first,
    slice_sequences,
    write_default_attributes,
    write_repeated_outputs,
    propagate_nan,
    write_exact_forms,
    write_branch_outputs,
    drop_conditions,
    reject_branch_shapes,
    reject_unsupported,
    unroll_recurrent,
)

# After the conversion to a precision, on which some of them depend.
FINAL_PASSES: tuple[Pass, ...] = (
    write_phase_convolutions,
    write_group_normalization,
    write_attention,
    pad_odd_products,
    write_transposed_products,
    separate_activations,
    separate_convolutions,
    downgrade,
)
