"""Networks of images from transformers, as PyTorch modules."""

from __future__ import annotations

from typing import Any

from support.zoo.network import Input, Network, images, mask, tokens


def wrapped(make: Any, call: Any) -> Any:
    """Make a module that calls a model of transformers and gives tensors."""
    import torch

    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = make()

        def forward(self, *inputs: Any) -> Any:
            return call(self.model, *inputs)

    return Wrapped().eval()


def _clip(small: bool) -> Any:
    import transformers

    width = 64 if small else 256
    shape = {
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 1 if small else 4,
        "num_attention_heads": 4,
        "initializer_range": 0.1,
    }
    config = transformers.CLIPConfig(
        text_config={**shape, "vocab_size": 64, "max_position_embeddings": 32, "eos_token_id": 2},
        vision_config={**shape, "image_size": 32 if small else 128, "patch_size": 16},
        projection_dim=width,
    )
    return wrapped(
        lambda: transformers.CLIPModel(config),
        lambda model, ids, attention_mask, pixels: (
            model(
                input_ids=ids, attention_mask=attention_mask, pixel_values=pixels
            ).logits_per_image
        ),
    )


def _sam(small: bool) -> Any:
    """The image encoder, whose attention has relative positions in each direction."""
    import transformers

    config = transformers.SamVisionConfig(
        hidden_size=64 if small else 192,
        output_channels=8 if small else 64,
        num_hidden_layers=2 if small else 4,
        num_attention_heads=2 if small else 6,
        image_size=32 if small else 256,
        patch_size=16,
        window_size=2 if small else 6,
        global_attn_indexes=[1] if small else [1, 3],
        mlp_dim=128 if small else 384,
        initializer_range=0.1,
    )

    def make() -> Any:
        import torch

        model = transformers.SamVisionModel(config)
        for name, parameter in model.named_parameters():
            if "rel_pos" in name or "pos_embed" in name:
                torch.nn.init.normal_(parameter, std=0.2)  # zeros in a new one
        return model

    return wrapped(make, lambda model, pixels: model(pixel_values=pixels).last_hidden_state)


def _image_model(
    kind: str, small: bool, attribute: str = "last_hidden_state", **options: Any
) -> Any:
    import transformers

    width = 64 if small else 192
    config = getattr(transformers, f"{kind}Config")(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=1 if small else 4,
        num_attention_heads=4,
        image_size=32 if small else 112,
        patch_size=16 if small else 14,
        initializer_range=0.1,
        **options,
    )
    return wrapped(
        lambda: getattr(transformers, f"{kind}Model")(config),
        lambda model, pixels: getattr(model(pixel_values=pixels), attribute),
    )


def _segformer(small: bool) -> Any:
    import transformers

    config = transformers.SegformerConfig(
        depths=[1, 1, 1, 1] if small else [2, 2, 2, 2],
        hidden_sizes=[8, 16, 16, 16] if small else [32, 64, 160, 256],
        num_attention_heads=[1, 2, 2, 2] if small else [1, 2, 5, 8],
        decoder_hidden_size=16 if small else 128,
        num_labels=5 if small else 20,
        initializer_range=0.1,
    )
    return wrapped(
        lambda: transformers.SegformerForSemanticSegmentation(config),
        lambda model, pixels: model(pixel_values=pixels).logits,
    )


def _detr(small: bool) -> Any:
    """DETR's transformer and heads behind a small backbone."""
    import transformers

    width = 64 if small else 128
    config = transformers.DetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=transformers.ResNetConfig(
            embedding_size=8 if small else 32,
            hidden_sizes=[8, 16] if small else [64, 128],
            depths=[1, 1],
            layer_type="basic",
            out_features=["stage2"],
        ),
        d_model=width,
        encoder_layers=1 if small else 3,
        decoder_layers=1 if small else 3,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=2 * width,
        decoder_ffn_dim=2 * width,
        num_queries=5 if small else 50,
        init_std=0.1,
    )
    return wrapped(
        lambda: transformers.DetrForObjectDetection(config),
        lambda model, pixels: (lambda out: (out.logits, out.pred_boxes))(
            model(pixel_values=pixels)
        ),
    )


T = ("transformers",)
BATCHES = {"batch": (1, 4)}


def _of_images(
    name: str, family: str, make: Any, size: int, small: int = 32, **more: Any
) -> Network:
    return Network(
        name,
        family,
        make,
        {"pixels": Input(("batch", 3, "size", "size"), images)},
        {"batch": 2, "size": size},
        {"size": small},
        BATCHES,
        T,
        **more,
    )


NETWORKS = (
    Network(
        "clip",
        "CLIP",
        _clip,
        {
            "ids": Input(("texts", "length"), tokens(64)),
            "mask": Input(("texts", "length"), mask),
            "pixels": Input(("batch", 3, "size", "size"), images),
        },
        {"texts": 3, "length": 16, "batch": 2, "size": 128},
        {"length": 6, "size": 32},
        {**BATCHES, "texts": (1, 5), "length": (2, 32)},
        T,
    ),
    _of_images("siglip_vision", "CLIP", lambda small: _image_model("SiglipVision", small), 112),
    _of_images("dinov2", "classification", lambda small: _image_model("Dinov2", small), 112),
    _of_images("vit_hf", "classification", lambda small: _image_model("ViT", small), 112),
    _of_images("sam_encoder", "SAM", _sam, 256),
    _of_images("segformer", "segmentation", _segformer, 128, settle=True),
    _of_images("detr", "detection", _detr, 128, 64),
)
