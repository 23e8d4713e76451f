"""Running models on the machines of a Ray cluster."""

from fasttrt._common.optional_packages import require

require("fasttrt.ray", "ray")

from fasttrt._ray.deployment import deployment  # noqa: E402
from fasttrt._ray.predict import predict  # noqa: E402
from fasttrt._ray.predictor import Predictor  # noqa: E402

__all__ = ["Predictor", "deployment", "predict"]

for _value in (Predictor, deployment, predict):
    _value.__module__ = __name__
