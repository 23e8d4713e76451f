"""Networks of torchvision: classification, detection up to its heads, segmentation, flow, video."""

from __future__ import annotations

from typing import Any

from support.zoo.network import Input, Network, images

T = ("torchvision",)


def _small_classifier(name: str) -> Any:
    """Of the same layers as the network, for images of 32 by 32, if there is one."""
    from torchvision import models

    if name == "swin_t":
        return models.swin_transformer.SwinTransformer(
            [4, 4], 32, depths=[2], num_heads=[2], window_size=[4, 4], num_classes=10
        )
    if name == "swin_v2_t":
        return models.swin_transformer.SwinTransformer(
            [4, 4], 32, depths=[2], num_heads=[2], window_size=[4, 4], num_classes=10,
            block=models.swin_transformer.SwinTransformerBlockV2,
            downsample_layer=models.swin_transformer.PatchMergingV2,
        )  # fmt: skip
    if name == "convnext_tiny":
        settings = [
            models.convnext.CNBlockConfig(16, 32, 1),
            models.convnext.CNBlockConfig(32, None, 1),
        ]
        return models.convnext.ConvNeXt(settings, num_classes=10)
    if name == "resnet18":
        return models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=10)
    return getattr(models, name)(weights=None, num_classes=10)


def _classifier(name: str) -> Any:
    def make(small: bool) -> Any:
        import torch
        import torchvision

        if small:
            model = _small_classifier(name)
        else:
            model = getattr(torchvision.models, name)(weights=None, num_classes=100)
        for module in model.modules():
            if isinstance(module, torch.nn.Linear) and not module.weight.any():
                torch.nn.init.normal_(module.weight, std=0.05)
        return model.eval()

    return make


def _segmentation(name: str) -> Any:
    def make(small: bool) -> Any:
        import torch
        import torchvision

        class Segmentation(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = getattr(torchvision.models.segmentation, name)(
                    weights=None, weights_backbone=None, num_classes=21
                )

            def forward(self, pixels: Any) -> Any:
                return self.model(pixels)["out"]

        return Segmentation().eval()

    return make


def _detection(name: str) -> Any:
    """The backbone and the heads, without what chooses among boxes."""

    def make(small: bool) -> Any:
        import torch
        import torchvision

        class Heads(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                model = getattr(torchvision.models.detection, name)(
                    weights=None, weights_backbone=None, num_classes=11
                )
                self.backbone = model.backbone
                self.head = model.rpn.head if hasattr(model, "rpn") else model.head

            def forward(self, pixels: Any) -> Any:
                found = self.head(list(self.backbone(pixels).values()))
                if isinstance(found, dict):
                    return tuple(found.values())
                return tuple(t.flatten(1) for part in found for t in part)

        return Heads().eval()

    return make


def _raft(small: bool) -> Any:
    import torch
    import torchvision

    class Flow(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = torchvision.models.optical_flow.raft_small(weights=None)

        def forward(self, first: Any, second: Any) -> Any:
            return self.model(first, second, num_flow_updates=3)[-1]

    return Flow().eval()


def _video(small: bool) -> Any:
    import torchvision

    return torchvision.models.video.r3d_18(weights=None, num_classes=20).eval()


def _of_images(
    name: str, family: str, make: Any, size: int, settle: bool = True, **more: Any
) -> Network:
    return Network(
        name, family, make, {"pixels": Input(("batch", 3, "size", "size"), images)},
        {"batch": 2, "size": size}, {"size": 32}, {"batch": (1, 4)}, T, settle, **more,
    )  # fmt: skip


CLASSIFICATION = (
    "resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0",
    "efficientnet_v2_s", "densenet121", "squeezenet1_1", "shufflenet_v2_x1_0", "mnasnet0_5",
    "regnet_y_400mf", "vgg11", "convnext_tiny", "vit_b_16", "swin_t", "swin_v2_t", "maxvit_t",
)  # fmt: skip
NETWORKS = (
    *(_of_images(name, "classification", _classifier(name), 224) for name in CLASSIFICATION),
    *(
        _of_images(name, "segmentation", _segmentation(name), 128)
        for name in ("deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large", "fcn_resnet50")
    ),
    *(
        _of_images(name, "detection", _detection(name), 128)
        for name in ("retinanet_resnet50_fpn", "ssdlite320_mobilenet_v3_large", "fcos_resnet50_fpn",
                     "fasterrcnn_mobilenet_v3_large_fpn")
    ),
    Network(
        "raft_small", "flow", _raft,
        {"first": Input((1, 3, 128, 160), images), "second": Input((1, 3, 128, 160), images)},
        needs=T, settle=True,
    ),
    Network(
        "r3d_18", "video", _video, {"clips": Input(("batch", 3, 8, 56, 56), images)}, {"batch": 2},
        dynamic={"batch": (1, 4)}, needs=T, settle=True,
    ),
)  # fmt: skip
