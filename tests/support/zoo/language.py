"""Text encoders and decoders of transformers, as PyTorch modules."""

from __future__ import annotations

from typing import Any

from support.zoo.network import Input, Network, mask, tokens

WORDS = 1000
SIZES = {"batch": 2, "length": 40}
SMALL = {"batch": 2, "length": 6}
RANGES = {"batch": (1, 4), "length": (2, 64)}


def _module(kind: str, config: Any, attribute: str, **fixed: Any) -> Any:
    """A model of transformers that gives one tensor."""
    import torch
    import transformers

    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = getattr(transformers, kind)(config)

        def forward(self, *inputs: Any) -> Any:
            names = ("input_ids", "attention_mask")
            given = dict(zip(names, inputs, strict=False))
            return getattr(self.model(**given, **fixed), attribute)

    return Wrapped().eval()


def _encoder(kind: str, small: bool, **options: Any) -> Any:
    import transformers

    width = 64 if small else 256
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=64 if small else WORDS,
        hidden_size=width,
        num_hidden_layers=1 if small else 4,
        num_attention_heads=2 if small else 8,
        intermediate_size=2 * width if small else 4 * width,
        max_position_embeddings=128,
        initializer_range=0.1,
        **options,
    )
    return _module(f"{kind}Model", config, "last_hidden_state")


def _decoder(kind: str, small: bool, **options: Any) -> Any:
    """A causal language model."""
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        vocab_size=64 if small else WORDS, use_cache=False, **options
    )
    config.initializer_range = 0.1
    head = "GPT2LMHeadModel" if kind == "GPT2" else f"{kind}ForCausalLM"
    return _module(head, config, "logits", use_cache=False)


def _gpt2(small: bool, implementation: str = "sdpa") -> Any:
    return _decoder(
        "GPT2",
        small,
        n_embd=64 if small else 256,
        n_layer=1 if small else 4,
        n_head=2 if small else 8,
        n_positions=128,
        attn_implementation=implementation,
    )


def _llama_like(kind: str, small: bool, **options: Any) -> Any:
    width = 128 if small else 256
    return _decoder(
        kind,
        small,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=1 if small else 4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        **options,
    )


def _t5(small: bool) -> Any:
    import torch
    import transformers

    width = 64 if small else 128
    config = transformers.T5Config(
        vocab_size=64 if small else WORDS,
        d_model=width,
        d_kv=width // 4,
        d_ff=2 * width,
        num_layers=1 if small else 3,
        num_heads=4,
        use_cache=False,
        decoder_start_token_id=0,
        initializer_factor=0.5,
    )

    class T5(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = transformers.T5ForConditionalGeneration(config)

        def forward(self, input_ids: Any, attention_mask: Any, decoder_input_ids: Any) -> Any:
            return self.model(
                input_ids=input_ids,
                attention_mask=attention_mask,
                decoder_input_ids=decoder_input_ids,
                use_cache=False,
            ).logits

    return T5().eval()


def _bart(small: bool) -> Any:
    import torch
    import transformers

    width = 64 if small else 128
    config = transformers.BartConfig(
        vocab_size=64 if small else WORDS,
        d_model=width,
        encoder_layers=1 if small else 3,
        decoder_layers=1 if small else 3,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=2 * width,
        decoder_ffn_dim=2 * width,
        max_position_embeddings=128,
        use_cache=False,
        init_std=0.1,
    )

    class Bart(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = transformers.BartForConditionalGeneration(config)

        def forward(self, input_ids: Any, decoder_input_ids: Any) -> Any:
            return self.model(
                input_ids=input_ids, decoder_input_ids=decoder_input_ids, use_cache=False
            ).logits

    return Bart().eval()


def _text(name: str, family: str, make: Any, masked: bool, dynamic: bool = True) -> Network:
    ids = tokens(64)  # that the small network knows too
    inputs = {"input_ids": Input(("batch", "length"), ids)}
    if masked:
        inputs["attention_mask"] = Input(("batch", "length"), mask)
    return Network(
        name, family, make, inputs, SIZES, SMALL, RANGES if dynamic else {}, ("transformers",)
    )


def _translator(name: str, make: Any, masked: bool) -> Network:
    inputs = {"input_ids": Input(("batch", "length"), tokens(64))}
    if masked:
        inputs["attention_mask"] = Input(("batch", "length"), mask)
    inputs["decoder_input_ids"] = Input(("batch", "target"), tokens(64))
    return Network(
        name,
        "text encoder-decoder",
        make,
        inputs,
        {**SIZES, "target": 24},
        {**SMALL, "target": 5},
        {**RANGES, "target": (2, 48)},
        ("transformers",),
    )


ENCODER, DECODER = "text encoder", "text decoder"
NETWORKS = (
    _text("bert", ENCODER, lambda small: _encoder("Bert", small), True),
    _text("roberta", ENCODER, lambda small: _encoder("Roberta", small), True),
    _text(
        "distilbert",
        ENCODER,
        lambda small: _module("DistilBertModel", _distilbert(small), "last_hidden_state"),
        True,
    ),
    _text("gpt2", DECODER, _gpt2, False, dynamic=False),
    _text("gpt2_masked", DECODER, _gpt2, True),
    _text("gpt2_eager", DECODER, lambda small: _gpt2(small, "eager"), True),
    _text(
        "opt",
        DECODER,
        lambda small: _decoder(
            "OPT",
            small,
            hidden_size=64 if small else 256,
            ffn_dim=128 if small else 512,
            num_hidden_layers=1 if small else 4,
            num_attention_heads=4,
            max_position_embeddings=128,
            word_embed_proj_dim=64 if small else 256,
        ),
        True,
    ),
    _text(
        "bloom",
        DECODER,
        lambda small: _decoder(
            "Bloom", small, hidden_size=64 if small else 256, n_layer=1 if small else 4, n_head=4
        ),
        True,
    ),
    _text(
        "gpt_neox",
        DECODER,
        lambda small: _decoder(
            "GPTNeoX",
            small,
            hidden_size=64 if small else 256,
            intermediate_size=128 if small else 512,
            num_hidden_layers=1 if small else 4,
            num_attention_heads=4,
            max_position_embeddings=128,
        ),
        True,
    ),
    _text("llama", DECODER, lambda small: _llama_like("Llama", small), False, dynamic=False),
    _text("llama_masked", DECODER, lambda small: _llama_like("Llama", small), True),
    _text("mistral", DECODER, lambda small: _llama_like("Mistral", small, sliding_window=32), True),
    _text("qwen2", DECODER, lambda small: _llama_like("Qwen2", small), True),
    _text(
        "qwen3",
        DECODER,
        lambda small: _llama_like("Qwen3", small, head_dim=32 if small else 64),
        True,
    ),
    _text(
        "gemma",
        DECODER,
        lambda small: _llama_like("Gemma", small, head_dim=32 if small else 64),
        True,
    ),
    _text(
        "gemma2",
        DECODER,
        lambda small: _llama_like("Gemma2", small, head_dim=32 if small else 64, sliding_window=32),
        True,
    ),
    _text("phi", DECODER, lambda small: _llama_like("Phi", small), True),
    _translator("t5", _t5, True),
    _translator("bart", _bart, False),
)


def _distilbert(small: bool) -> Any:
    import transformers

    width = 64 if small else 256
    return transformers.DistilBertConfig(
        vocab_size=64 if small else WORDS,
        dim=width,
        n_layers=1 if small else 4,
        n_heads=4,
        hidden_dim=2 * width,
        max_position_embeddings=128,
        initializer_range=0.1,
    )
