"""Settings of traces and of the log over HTTP."""

from collections.abc import Callable

from fasttrt._serving.http import Body, Request, Response, json_object, json_response
from fasttrt._serving.log_settings import LogSettings
from fasttrt._serving.routes import Route
from fasttrt._serving.tracing import Tracing


def settings_handlers(
    tracing: Tracing,
    log_settings: LogSettings,
    check_model: Callable[[str], object],
    read_body: Callable[[Request], Body],
) -> dict[str, Callable[[Request, Route], Response]]:
    """Return what answers requests about settings, by the actions of their routes.

    Args:
        tracing: whose settings are asked for.
        log_settings: the same.
        check_model: raises an error for a model that there is not.
        read_body: returns a request's body without compression.
    """

    def trace(request: Request, route: Route) -> Response:
        if route.model:
            check_model(route.model)
        if request.method == "POST":
            tracing.update(json_object(read_body(request)), route.model)
        return json_response(tracing.settings(route.model))

    def logging(request: Request, _: Route) -> Response:
        if request.method == "POST":
            log_settings.update(json_object(read_body(request)))
        return json_response(log_settings.settings())

    return {"trace": trace, "logging": logging}
