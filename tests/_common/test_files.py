"""What is written replaces nothing of another kind, no input, no device, no link and no mode."""

from __future__ import annotations

import os
import stat
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

import fasttrt
from fasttrt._cli import app
from fasttrt._common.file_kinds import (
    ARRAYS,
    MODEL,
    PLAN,
    TIMING_CACHE,
    TRACE,
    FileKind,
    arrays_of,
    chart,
)
from fasttrt._common.input_file import check_file, lfs_problem, read_file, reading
from fasttrt._common.output_file import Output
from fasttrt._engine.options_file import OPTIONS
from fasttrt._graph.model import OnnxModel
from support import models
from support.randomness import new_rng


def plan(path: Path) -> Path:
    fasttrt.Plan(new_rng().bytes(50), {}).save(path)
    return path


def arrays(path: Path) -> Path:
    np.savez(path, x=models.random_array(np.float32, (3,)))
    return path


def text(content: str) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        path.write_text(content)
        return path

    return write


MAKERS: dict[str, tuple[FileKind, Callable[[Path], Path]]] = {
    "m.plan": (PLAN, plan),
    "m.onnx": (MODEL, lambda path: models.mlp().save(path)),
    "m.npz": (ARRAYS, arrays),
    "fasttrt.toml": (OPTIONS, text("[engine]\ncontexts = 2\n")),
    "trace.json": (TRACE, text('{"traceEvents": []}')),
    "plot.svg": (chart(".svg"), text('<?xml version="1.0"?><svg></svg>')),
    "page.html": (chart(".html"), text("<!doctype html>\n<svg></svg>")),
}
OTHERS: dict[str, Callable[[Path], Path]] = {
    "notes.txt": text("# only a comment\n"),
    "pyproject.toml": text("[project]\nname = 'x'\n"),
    "netlify.toml": text('[build]\ncommand = "npm run build"\n'),
    "script.py": text("import os\n"),
    "weights.data": lambda path: _numbers(path),
    "pointer.onnx": text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
    "package.whl": lambda path: _archive(path),
}


def _numbers(path: Path) -> Path:
    path.write_bytes(np.arange(99.0).tobytes())
    return path


def _archive(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("module.py", "1")
    return path


def write(path: Path, kind: FileKind, **options: object) -> None:
    with Output(path, kind, **options).open() as stream:  # type: ignore[arg-type]
        stream.write(b"new")


@pytest.mark.parametrize("name", MAKERS)
def test_only_the_like_is_replaced(name: str, tmp_path: Path) -> None:
    kind, _ = MAKERS[name]
    for other, (_, maker) in MAKERS.items():
        path = maker(tmp_path / f"same-{other}")
        before = path.read_bytes()
        if other == name:
            Output(path, kind).check()
            write(path, kind)
            assert path.read_bytes() == b"new"
            continue
        with pytest.raises(fasttrt.InputError, match=f"is not {kind.name}; .*force"):
            write(path, kind)
        assert path.read_bytes() == before
        write(path, kind, force=True)
        assert path.read_bytes() == b"new"
    for other, maker in OTHERS.items():
        path = maker(tmp_path / other)
        with pytest.raises(fasttrt.InputError, match=other):
            Output(path, kind).check("--output")
    (tmp_path / "empty").touch()
    write(tmp_path / "empty", kind)
    write(tmp_path / "none", kind)
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("link", ["same", "symbolic", "hard"])
def test_inputs_are_not_replaced_whatever_their_name(link: str, tmp_path: Path) -> None:
    model = models.mlp().save(tmp_path / "m.onnx")
    path = model
    if link == "symbolic":
        path = tmp_path / "other.onnx"
        path.symlink_to(model)
    elif link == "hard":
        path = tmp_path / "other.onnx"
        path.hardlink_to(model)
    with pytest.raises(fasttrt.InputError, match="is an input"):
        write(path, MODEL, inputs=[model])
    write(path, MODEL, inputs=[tmp_path / "none"])


def test_links_are_written_through_and_modes_kept(tmp_path: Path) -> None:
    target = plan(tmp_path / "target.plan")
    target.chmod(0o640)
    link = tmp_path / "link.plan"
    link.symlink_to("target.plan")
    write(link, PLAN)
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    dangling = tmp_path / "dangling.plan"
    dangling.symlink_to("later.plan")
    old = os.umask(0o027)
    try:
        write(dangling, PLAN)
    finally:
        os.umask(old)
    assert dangling.is_symlink()
    assert stat.S_IMODE((tmp_path / "later.plan").stat().st_mode) == 0o640


def test_devices_and_pipes_are_written_into(tmp_path: Path) -> None:
    before = Path("/dev/null").stat()
    some = fasttrt.Plan(b"data", {})
    some.save("/dev/null")
    after = Path("/dev/null").stat()
    assert stat.S_ISCHR(after.st_mode)
    assert (before.st_ino, before.st_rdev) == (after.st_ino, after.st_rdev)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    some.save(pipe)
    reader.join(20)
    assert got == [some.to_bytes()]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    wrong = [tmp_path, tmp_path / "none" / "m.plan", tmp_path / "loop", tmp_path / ("x" * 300)]
    for path in [*wrong, tmp_path / ("x" * 300) / "m.plan"]:
        with pytest.raises(fasttrt.InputError):
            Output(path, PLAN).check()
    long = tmp_path / ("é" * 120 + ".plan")  # whose partial name would be too long
    write(long, PLAN)
    assert long.read_bytes() == b"new"


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = plan(tmp_path / "m.plan")
    before = path.read_bytes()

    def fail() -> None:
        with Output(path, PLAN).open() as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# Commands


def refused(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert isinstance(done.exception, fasttrt.InputError), done.output
    return str(done.exception)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return models.mlp(batch=2).save(tmp_path / "m.onnx")


@pytest.mark.parametrize(("option", "way"), [("--output", "--force"), ("output", "force=True")])
def test_a_refusal_names_the_way_of_its_interface(option: str, way: str, tmp_path: Path) -> None:
    path = tmp_path / "m.plan"
    path.write_text("no plan")
    with pytest.raises(fasttrt.InputError, match=rf"^{option}: .* only with {way}$"):
        Output(path, PLAN).check(option)


def test_commands_replace_neither_inputs_nor_other_files(model: Path, tmp_path: Path) -> None:
    before = model.read_bytes()
    samples = tmp_path / "samples"
    samples.mkdir()
    sample = samples / "0.npz"
    np.savez(sample, x=models.random_array(np.float32, (2, 16)))
    kept = sample.read_bytes()
    assert "is an input" in refused("build", model, "-o", model)
    assert "is an input" in refused("quantize", model, samples, "-o", model)
    assert "is an input" in refused("tune", model, "-o", model)
    assert "is an input" in refused("run", model, "--inputs", samples, "-o", sample)
    assert "is not a trace" in refused("profile", model, "--trace", model)
    link = tmp_path / "link.onnx"
    link.symlink_to(model)
    assert "is an input" in refused("quantize", model, samples, "-o", link)
    assert model.read_bytes() == before
    assert sample.read_bytes() == kept


def test_commands_do_not_replace_files_of_the_user(model: Path, tmp_path: Path) -> None:
    samples, results = tmp_path / "samples", tmp_path / "results"
    for folder in (samples, results):
        folder.mkdir()
        np.savez(folder / "0.npz", x=models.random_array(np.float32, (2, 16)))
    kept = (results / "0.npz").read_bytes()
    run = ("run", model, "--device", "cpu", "--inputs", samples, "-o")
    for output in (results, results / "0.npz"):
        message = refused(*run, output)
        assert message.startswith("--output: ")
        assert "0.npz' is not a .npz of these outputs; it is replaced only with --force" in message
    assert (results / "0.npz").read_bytes() == kept
    for more in ([results, "--force"], [results], [results / "0.npz"]):
        done = CliRunner().invoke(app, [str(a) for a in (*run, *more)])
        assert done.exit_code == 0, done.exception
    with np.load(results / "0.npz") as archive:
        assert archive.files == ["y"]
    other = models.mlp(batch=3).save(tmp_path / "other.onnx")
    kept = other.read_bytes()
    quantize = ("quantize", model, samples, "--library", "none", "-o")
    assert "other.onnx' is not a quantized ONNX model; " in refused(*quantize, other)
    assert other.read_bytes() == kept
    for _ in range(2):
        done = CliRunner().invoke(app, [str(a) for a in (*quantize, tmp_path / "q.onnx")])
        assert done.exit_code == 0, done.exception
    assert OnnxModel(tmp_path / "q.onnx").is_quantized


def test_results_of_several_samples_are_recognized(tmp_path: Path) -> None:
    kind = arrays_of(["y", "a/b"])
    for names, matches in ((["0/y", "0/a/b", "a/b"], True), (["0/y", "x"], False), (["my"], False)):
        with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
            for name in names:
                archive.writestr(f"{name}.npy", b"")
        with (tmp_path / "m.npz").open("rb") as stream:
            assert kind.matches(stream) == matches, names


def test_commands_write_into_devices(model: Path, tmp_path: Path) -> None:
    samples = tmp_path / "samples"
    samples.mkdir()
    np.savez(samples / "0.npz", x=models.random_array(np.float32, (2, 16)))
    before = Path("/dev/null").stat()
    for arguments in (
        ["run", model, "--device", "cpu", "-o", "/dev/null"],
        ["quantize", model, samples, "--library", "none", "-o", "/dev/null"],
    ):
        done = CliRunner().invoke(app, [str(a) for a in arguments])
        assert done.exit_code == 0, done.exception
    after = Path("/dev/null").stat()
    assert (before.st_mode, before.st_rdev) == (after.st_mode, after.st_rdev)


def test_quantize_does_not_write_over_its_weights(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "external"
    folder.mkdir()
    onnx.save(
        onnx.load(model), folder / "m.onnx", save_as_external_data=True, location="w.data",
        size_threshold=0,
    )  # fmt: skip
    before = (folder / "w.data").read_bytes()
    data = [models.random_array(np.float32, (2, 16))]
    for name in ("w.data", "m.onnx"):
        with pytest.raises(fasttrt.InputError, match="is an input"):
            fasttrt.quantize(folder / "m.onnx", data, output=folder / name, library=None)
    found = fasttrt.quantize(folder / "m.onnx", data, output=folder / "q.onnx", library=None)
    found.save(folder / "q.onnx")
    with pytest.raises(fasttrt.InputError, match="is an input"):
        found.save(folder / "m.onnx")
    assert (folder / "w.data").read_bytes() == before


def test_a_timing_cache_of_another_kind_is_left_alone(
    model: Path, tmp_path: Path, build: Callable[..., fasttrt.Plan]
) -> None:
    other = text("notes\n")(tmp_path / "notes.txt")
    for file in (other, model, plan(tmp_path / "p.plan")):
        before = file.read_bytes()
        with pytest.raises(fasttrt.InputError, match="expected a timing cache, or no file yet"):
            build(model, fasttrt.BuildConfig(timing_cache=file))
        assert file.read_bytes() == before
    timings = tmp_path / "timings"
    for _ in range(2):
        build(model, fasttrt.BuildConfig(timing_cache=timings))
        with timings.open("rb") as stream:
            assert TIMING_CACHE.matches(stream)


# Reading


def test_odd_files_are_not_read(build: Callable[..., fasttrt.Plan], tmp_path: Path) -> None:
    import socket

    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(tmp_path / "socket"))
    (tmp_path / "loop").symlink_to("loop")
    odd = [tmp_path, *(tmp_path / name for name in ("pipe", "socket", "loop")), Path("/dev/zero")]
    uses: list[Callable[[Path], object]] = [
        check_file,
        lambda path: reading(path).__enter__(),
        lambda path: fasttrt.Engine(path, device="cpu"),
        lambda path: fasttrt.Engine(os.fspath(path), device="cpu"),
        build,
        fasttrt.Plan.load,
        fasttrt.load_config,
    ]
    for path in [*odd, tmp_path / ("n" * 300), Path("a\0b")]:
        for use in uses:
            with pytest.raises(fasttrt.InputError):
                use(path)
    for path in odd[1:]:
        with pytest.raises(fasttrt.InputError):
            fasttrt.build(models.mlp().proto, fasttrt.BuildConfig(timing_cache=path))
        with pytest.raises(fasttrt.Error):
            fasttrt.build(models.mlp().proto, plugins=[path])
        with pytest.raises(fasttrt.InputError):
            fasttrt.compare(models.mlp().proto, path, device="cpu")
        (tmp_path / "samples").mkdir(exist_ok=True)
        sample = tmp_path / "samples" / "x.npy"
        sample.unlink(missing_ok=True)
        sample.symlink_to(path)
        with pytest.raises(fasttrt.InputError):
            fasttrt.quantize(models.mlp().proto, tmp_path / "samples", library=None)


def test_files_larger_than_they_may_be_are_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.toml").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(fasttrt.InputError, match="expected TOML of at most"):
        fasttrt.load_config(tmp_path / "huge.toml")
    (tmp_path / "huge.toml").rename(tmp_path / "huge.onnx")
    for later in (False, True):
        with pytest.raises(fasttrt.Error, match="at most"):
            OnnxModel(tmp_path / "huge.onnx", later=later)
    assert read_file(text("abc")(tmp_path / "small"), 3, "it") == b"abc"


def test_git_lfs_pointers_are_told(tmp_path: Path) -> None:
    pointer = OTHERS["pointer.onnx"](tmp_path / "p.onnx")
    assert "Git LFS pointer" in lfs_problem(pointer, pointer.stat().st_size)
    with pytest.raises(fasttrt.ParseError, match=r"p\.onnx is a Git LFS pointer"):
        fasttrt.Engine(pointer, device="cpu")
    with pytest.raises(fasttrt.EngineLoadError, match="Git LFS pointer"):
        fasttrt.Plan.load(pointer)
    pointer = pointer.rename(pointer.with_suffix(".npy"))
    with pytest.raises(fasttrt.InputError, match="Git LFS pointer"):
        fasttrt.compare(models.mlp().proto, pointer, device="cpu")
