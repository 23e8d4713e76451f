"""Networks of sounds from transformers, as PyTorch modules."""

from __future__ import annotations

from typing import Any

from support.zoo.network import Input, Network, normal, tokens
from support.zoo.transformers_vision import BATCHES, T, wrapped


def _whisper(small: bool) -> Any:
    import transformers

    width = 64 if small else 128
    return transformers.WhisperConfig(
        vocab_size=64,
        num_mel_bins=8 if small else 80,
        d_model=width,
        encoder_layers=1 if small else 4,
        decoder_layers=1 if small else 4,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=2 * width,
        decoder_ffn_dim=2 * width,
        max_source_positions=16 if small else 200,
        max_target_positions=64,
        use_cache=False,
        init_std=0.1,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )


def _whisper_encoder(small: bool) -> Any:
    import transformers

    config = _whisper(small)
    return wrapped(
        lambda: transformers.WhisperModel(config).get_encoder(),
        lambda model, mels: model(mels).last_hidden_state,
    )


def _whisper_whole(small: bool) -> Any:
    import transformers

    config = _whisper(small)
    return wrapped(
        lambda: transformers.WhisperForConditionalGeneration(config),
        lambda model, mels, ids: (
            model(input_features=mels, decoder_input_ids=ids, use_cache=False).logits
        ),
    )


def _wav2vec2(kind: str, small: bool) -> Any:
    import transformers

    width = 64 if small else 192
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=32,
        hidden_size=width,
        num_hidden_layers=1 if small else 4,
        num_attention_heads=4,
        intermediate_size=2 * width,
        conv_dim=(8,) * 3 if small else (128,) * 7,
        conv_kernel=(10, 3, 2) if small else (10, 3, 3, 3, 3, 2, 2),
        conv_stride=(5, 2, 2) if small else (5, 2, 2, 2, 2, 2, 2),
        num_feat_extract_layers=3 if small else 7,
        num_conv_pos_embeddings=8 if small else 32,
        num_conv_pos_embedding_groups=4,
        initializer_range=0.1,
    )
    return wrapped(
        lambda: getattr(transformers, f"{kind}ForCTC")(config),
        lambda model, sound: model(sound).logits,
    )


NETWORKS = (
    Network(
        "whisper_encoder",
        "speech",
        _whisper_encoder,
        {"mels": Input(("batch", "mels", "frames"), normal)},
        {"batch": 2, "mels": 80, "frames": 400},
        {"mels": 8, "frames": 32},
        BATCHES,
        T,
    ),
    Network(
        "whisper",
        "speech",
        _whisper_whole,
        {
            "mels": Input(("batch", "mels", "frames"), normal),
            "ids": Input(("batch", "length"), tokens(64)),
        },
        {"batch": 2, "mels": 80, "frames": 400, "length": 12},
        {"mels": 8, "frames": 32, "length": 4},
        {**BATCHES, "length": (2, 32)},
        T,
    ),
    Network(
        "wav2vec2",
        "speech",
        lambda small: _wav2vec2("Wav2Vec2", small),
        {"sound": Input(("batch", "samples"), normal)},
        {"batch": 2, "samples": 8000},
        {"samples": 400},
        {**BATCHES, "samples": (2000, 16000)},
        T,
    ),
    Network(
        "hubert",
        "speech",
        lambda small: _wav2vec2("Hubert", small),
        {"sound": Input(("batch", "samples"), normal)},
        {"batch": 2, "samples": 8000},
        {"samples": 400},
        BATCHES,
        T,
    ),
)
