"""Parse a model in the requested precision, by the means that the library has."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from fasttrt import _core
from fasttrt._common.log import logger
from fasttrt._graph.model import OnnxModel
from fasttrt._parser.int8_support import int8_problem
from fasttrt._parser.model_source import parse_network
from fasttrt._parser.other_forms import parse_in_other_forms, write_other_forms
from fasttrt._parser.pipeline import Target, finish, prepare
from fasttrt._plan.build_config import BuildConfig, Precision
from fasttrt._precision import DTYPES
from fasttrt._precision.placements import DEFAULT
from fasttrt.errors import BuildError, ParseError

if TYPE_CHECKING:
    from fasttrt._precision.scopes import Changes


class Parsed(NamedTuple):
    """A model that the library has parsed."""

    builder: _core.PlanBuilder
    model: OnnxModel
    """The parsed model, converted if necessary."""
    changes: "Changes | None"
    """The changes made by the conversion, if any."""

    def metadata(self) -> dict[str, Any]:
        """Return the plan's metadata on the conversion."""
        return {} if self.changes is None else {"conversion": vars(self.changes)}


def chooses_types(library: _core.Library) -> bool:
    """Return whether the library may compute in other types than the network's."""
    return library.generation == "v8"


def check_library(config: BuildConfig, library: _core.Library) -> None:
    """Check that the library supports the options for a 16-bit precision.

    Raises:
        BuildError: it does not support one; the message names it.
    """
    if not config.is_reduced:
        return
    if not chooses_types(library):
        if config.conversion == "flags":
            raise BuildError(
                f'conversion="flags" is not an option of {library}, which computes in the types '
                'of the graph; use "graph"'
            )
        return
    if config.precision == "bf16":
        raise BuildError(f'precision="bf16" is not an option of {library}, which has no bfloat16')
    if config.keep_fp32:
        raise BuildError(
            f"keep_fp32 is not an option of {library}, which chooses between float16 and float32 "
            "itself"
        )
    if config.convert_io and config.conversion != "graph":
        raise BuildError(
            f'convert_io is not an option of flags on {library}; use conversion="graph"'
        )


def parse(
    model: OnnxModel,
    config: BuildConfig,
    target: Target,
    parse_network: Callable[[OnnxModel], _core.PlanBuilder],
    placement: str = DEFAULT,
) -> Parsed:
    """Parse the caller's model as a build does: prepared, converted to its precision, finished.

    A node that the parser refuses is rewritten in another form if it has one; what it refuses in 16
    bits alone is kept in float32, which the log says. ``placement`` says where a conversion puts
    its casts.

    Raises:
        BuildError: the network does not have the requested precision, or has int8 nodes that the
            library cannot build.
        ParseError, InputError: see `fasttrt.build`.
    """
    check_library(config, target.library)
    ready = prepare(model, target)
    if problem := int8_problem(ready.skeleton.graph, target.library):
        raise BuildError(problem)
    return _parse_prepared(ready, config, target, parse_network, placement)


def parse_as_stated(
    library: _core.Library,
    device: int | None,
    model: OnnxModel,
    precision: Precision | None = None,
    has_plugins: bool = False,
) -> _core.PlanBuilder:
    """Return a builder that has parsed the caller's model, whether or not it then can be built.

    Raises:
        ParseError: lists every node that cannot be given to TensorRT, or that it refused.
    """
    target, config = Target(library, has_plugins), BuildConfig(precision=precision)
    check_library(config, library)
    ready = prepare(model, target)
    return _parse_prepared(ready, config, target, partial(parse_network, library, device)).builder


def prepare_as_built(
    model: OnnxModel, metadata: Mapping[str, Any], target: Target
) -> tuple[OnnxModel, dict[str, str]]:
    """Prepare the caller's model with new weights as the build did, without parsing it.

    Args:
        model: the model.
        metadata: of the engine's plan.
        target: what the engine was built for.

    Returns:
        The model as the parser would read it, and the nodes that stay in float32 although the build
        converted theirs, and why.
    """
    ready = write_other_forms(prepare(model, target), metadata.get("rewritten", ()), target)
    result, wide = convert_as_built(ready, metadata)
    return finish(result, target), wide


def _parse_prepared(
    model: OnnxModel,
    config: BuildConfig,
    target: Target,
    parse_network: Callable[[OnnxModel], _core.PlanBuilder],
    placement: str = DEFAULT,
) -> Parsed:
    is_converted = config.precision in DTYPES and (
        not chooses_types(target.library) or config.conversion == "graph"
    )

    def parse_stated(model: OnnxModel) -> Parsed:
        written = finish(model, target)
        return Parsed(parse_network(written), written, None)

    def parse_converted(model: OnnxModel) -> Parsed:
        return _parse_converted(model, config, target, parse_network, placement)

    if is_converted:
        return parse_in_other_forms(model, target, parse_converted)
    network = parse_in_other_forms(model, target, parse_stated)
    _check_unconverted(network.builder, config)
    return network


def _parse_converted(
    model: OnnxModel,
    config: BuildConfig,
    target: Target,
    parse_network: Callable[[OnnxModel], _core.PlanBuilder],
    placement: str,
) -> Parsed:
    from fasttrt._precision.conversion import convert_model

    refused: set[str] = set()
    while True:
        result, changes = convert_model(
            model,
            config.precision,  # type: ignore[arg-type]  # is in DTYPES
            keep_fp32=config.keep_fp32,
            convert_io=config.convert_io,
            refused=refused,
            placement=placement,
        )
        try:
            result = finish(result, target)
            builder = parse_network(result)
        except ParseError as error:
            names = {issue.name for issue in error.issues} - refused - changes.kept.keys()
            found = names & {node.name for node in result.skeleton.graph.node}
            if not found:
                raise  # not for its type
            refused |= found
            continue
        for name in sorted(refused):
            logger.warning("%s is kept in float32: %s cannot parse it in %s",
                           name, target.library, DTYPES[str(config.precision)])  # fmt: skip
        _check_converted(builder, config, target.library)
        return Parsed(builder, result, changes)


def convert_as_built(
    model: OnnxModel, metadata: Mapping[str, Any]
) -> tuple[OnnxModel, dict[str, str]]:
    """Convert a model with new weights as the engine's model was converted.

    Nodes that the build kept in float32 because of their weights are kept, whatever the new ones.

    Args:
        model: the model.
        metadata: the metadata of the engine's plan.

    Returns:
        The model, and the nodes that stay in float32 although the build converted them, with the
        reason.
    """
    changes, config = metadata.get("conversion"), metadata.get("config", {})
    if changes is None:
        return model, {}
    from fasttrt._precision.conversion import REFUSED, convert_model

    def convert(refused: Collection[str]) -> "tuple[OnnxModel, Changes]":
        return convert_model(
            model,
            config["precision"],
            keep_fp32=config["keep_fp32"],
            convert_io=config["convert_io"],
            refused=refused,
            placement=changes.get("placement", DEFAULT),
        )

    kept = changes["kept"]
    refused = {name for name, why in kept.items() if why.endswith(REFUSED)}
    result, new = convert(refused)
    if fitting := kept.keys() - new.kept.keys():
        result, new = convert(refused | fitting)
    return result, {name: why for name, why in new.kept.items() if name not in kept}


def _check_converted(
    builder: _core.PlanBuilder, config: BuildConfig, library: _core.Library
) -> None:
    """Check that the network has tensors of the type, so that the engine has them too."""
    dtype, types = DTYPES[str(config.precision)], builder.tensor_types()
    if not types.get(dtype) and not chooses_types(library):
        raise BuildError(
            f'precision="{config.precision}": expected a network with {dtype}, {library} made one '
            f"of {_counted(types)}"
        )


def _check_unconverted(builder: _core.PlanBuilder, config: BuildConfig) -> None:
    """Check that a model does not itself compute in 16 bits, apart from its outputs."""
    if config.precision not in ("fp32", "tf32"):
        return
    types = Counter(builder.tensor_types())
    types.subtract(output[1] for output in builder.outputs())
    reduced = {name: n for name, n in types.items() if name in ("float16", "bfloat16") and n > 0}
    if reduced:
        raise BuildError(
            f'precision="{config.precision}": expected a float32 model, this one computes '
            f"{_counted(reduced)} itself; None keeps its types"
        )


def _counted(types: dict[str, int]) -> str:
    return ", ".join(f"{count} tensors of {name}" for name, count in types.items())
