"""Which of its two implementations gRPC has: the core's by nghttp2, or grpcio's."""

from collections.abc import Callable
from importlib.util import find_spec

from fasttrt import _core
from fasttrt._common.log import logger
from fasttrt._common.optional_packages import install_command, require
from fasttrt._serving.front_end import FrontEnd
from fasttrt._serving.grpc_exchange import AnswerGrpc
from fasttrt._serving.grpcio_server import GrpcioServer
from fasttrt._serving.server_options import DEFAULT_GRPC_PORT, ServerOptions
from fasttrt.errors import (
    Error,
    LibraryNotFoundError,
    MissingPackageError,
    UnsupportedLibraryError,
)


def open_front_ends(
    options: ServerOptions,
    core_options: "_core.HttpOptions",
    make: "Callable[[_core.HttpOptions], FrontEnd]",
    answer: AnswerGrpc,
) -> tuple[FrontEnd, GrpcioServer | None]:
    """Listen at the ports of HTTP and, if there is to be any, gRPC.

    Args:
        options: the server's.
        core_options: what the core's front end is started with, but for the port of gRPC.
        make: makes the front end.
        answer: answers messages that grpcio receives.

    Returns:
        The core's front end, and grpcio's if that one has the port of gRPC.

    Raises:
        Error: a port is not available, or gRPC is not and its port is not the default one.
    """
    core_options.grpc_port = options.grpc_port
    try:
        if options.grpc_port is not None:
            require("gRPC", "google.protobuf")
        front = make(core_options)
    except Error as error:
        if options.grpc_port is None:
            raise
        core_options.grpc_port = None
        without = make(core_options)  # raises, too, where it is not gRPC's port that cannot be had
        try:
            return without, _open_grpcio(options, answer, error)
        except Error as problem:
            if options.grpc_port != DEFAULT_GRPC_PORT:
                without.close(0)
                raise
            logger.warning("gRPC is not available: %s", problem)
            return without, None
    if front.grpc_port:
        logger.info("gRPC on port %d, by nghttp2", front.grpc_port)
    return front, None


def _open_grpcio(options: ServerOptions, answer: AnswerGrpc, problem: Error) -> GrpcioServer:
    """Listen by grpcio where nghttp2 is what is missing."""
    has_protobuf = not isinstance(problem, MissingPackageError)
    if not (has_protobuf and isinstance(problem, (LibraryNotFoundError, UnsupportedLibraryError))):
        raise problem
    if find_spec("grpc") is None:
        raise LibraryNotFoundError(
            f"{problem}; or install grpcio, which is slower: {install_command('serve')}"
        )
    server = GrpcioServer(options, answer)
    logger.info("gRPC on port %d, by grpcio: %s", server.port, problem)
    return server
