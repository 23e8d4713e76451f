"""Read the text in a photograph: find its lines, straighten them, read them.

pip install '.[cpu,examples]' && pip install --no-deps rapidocr-onnxruntime
python examples/ocr.py --device auto [photograph.jpg]

Lines may lean, as in a page that is not flat, but not stand upright.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from package_files import package_file
from skimage import color, data, measure, transform
from skimage.io import imread

import fasttrt

PACKAGE = "rapidocr-onnxruntime"
LEAST_SIDE = 736  # the detector's, as RapidOCR takes it
THRESHOLD = 0.3  # from which on a pixel is text, as RapidOCR takes it
HEIGHT = 48  # of a line, for the recognizer
Array = npt.NDArray[Any]


def normalized(gray: Array) -> Array:
    """A gray image of values from 0 to 1 as the networks want it: ``[3, height, width]``."""
    return np.broadcast_to((gray - 0.5) / 0.5, (3, *gray.shape)).astype(np.float32)


def resized(gray: Array) -> Array:
    """With a shorter side of 736 and extents that the detector can halve five times."""
    scale = LEAST_SIDE / min(gray.shape)
    size = [max(round(extent * scale / 32), 1) * 32 for extent in gray.shape]
    return np.asarray(transform.resize(gray, size, anti_aliasing=True))


def lines(gray: Array, heat: Array) -> Iterator[Array]:
    """The lines of text, from the top down, each 48 high.

    The detector marks the core of a line: a straight line is laid through it, and a margin of the
    core's thickness added all around.
    """
    for region in measure.regionprops(measure.label(heat > THRESHOLD)):
        if region.area < 100:
            continue
        rows, columns = region.coords.T
        slope, offset = np.polyfit(columns, rows, 1)
        left, right = columns.min(), columns.max()
        margin = region.area / (right - left + 1)
        left, right, half = left - margin, right + margin, 1.5 * margin
        width = max(round((right - left) * HEIGHT / (2 * half)), 1)
        along, down = (right - left) / width, 2 * half / HEIGHT
        # From the line's pixels (x, y) to the page's.
        matrix = np.array(
            [
                (along, 0, left),
                (slope * along, down, slope * left + offset - half),
                (0, 0, 1),
            ]
        )
        yield transform.warp(gray, matrix, output_shape=(HEIGHT, width), mode="edge")


def characters(recognizer: Path) -> list[str]:
    """What the recognizer's classes mean; the first is none, the last a space."""
    properties = {entry.key: entry.value for entry in onnx.load(recognizer).metadata_props}
    return ["", *properties["character"].split("\n"), " "]


def decoded(scores: Array, alphabet: list[str]) -> str:
    """The best character at each step, once where it comes again at once."""
    best = scores.argmax(-1)
    kept = best[np.append(True, best[1:] != best[:-1])]
    return "".join(alphabet[index] for index in kept)


def read(image: Array, device: str) -> list[str]:
    """The lines of text in a gray image of values from 0 to 1."""
    gray = resized(image)
    page = normalized(gray)[None]
    detector = package_file(PACKAGE, "ch_PP-OCRv4_det_infer.onnx")
    with fasttrt.Engine(detector, device=device, shapes={"x": page.shape}) as engine:
        heat = engine.infer(page)[0, 0]
    found = [normalized(line) for line in lines(gray, heat)]
    if not found:
        return []
    # All in one run, filled up with zeros to the widest.
    width = max(line.shape[2] for line in found)
    batch = np.stack([np.pad(line, ((0, 0), (0, 0), (0, width - line.shape[2]))) for line in found])
    recognizer = package_file(PACKAGE, "ch_PP-OCRv4_rec_infer.onnx")
    with fasttrt.Engine(recognizer, device=device, shapes={"x": batch.shape}) as engine:
        scores = engine.infer(batch)
    alphabet = characters(recognizer)
    return [decoded(line, alphabet) for line in scores]


def main() -> None:
    """Print what is read."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("image", nargs="?", help="default: a photograph that scikit-image has")
    options.add_argument("--device", default="auto", help="auto, cuda, cuda:N or cpu")
    chosen = options.parse_args()
    image = imread(chosen.image) if chosen.image else data.page()
    gray = image / 255 if image.ndim == 2 else color.rgb2gray(image[..., :3])
    print("\n".join(read(gray, chosen.device)))


if __name__ == "__main__":
    main()
