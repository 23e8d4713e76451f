"""Networks as people export them today: PyTorch modules with random weights, by name."""

from __future__ import annotations

from support.zoo import (
    diffusion,
    language,
    recurrent,
    speech,
    torchvision_networks,
    transformers_vision,
    vision,
)
from support.zoo.network import Network

NETWORKS: dict[str, Network] = {
    network.name: network
    for module in (
        language,
        transformers_vision,
        speech,
        torchvision_networks,
        diffusion,
        vision,
        recurrent,
    )
    for network in module.NETWORKS
}
