"""The small installation, or with some extras: packages are hidden from other processes."""

from __future__ import annotations

from pathlib import Path

import fasttrt
from fasttrt._common.optional_packages import install_command
from support import plain_install
from support.process import python_output, run_python


def test_plans_need_no_extra_and_the_rest_names_its_own(
    rtx: fasttrt.LibraryInfo, tmp_path: Path
) -> None:
    plain_install.prepare(tmp_path)
    code = """
        import sys
        from pathlib import Path
        from support.hidden_packages import hide_all_but
        hide_all_but(("numpy", "ml_dtypes", "filelock", "platformdirs", "tomli"))
        from support import plain_install
        plain_install.check(Path(sys.argv[1]))
    """
    assert python_output(code, tmp_path) == ""


def test_progress_bars_need_rich_only_where_they_were_asked_for() -> None:
    code = """
        import io, sys
        from support.hidden_packages import hide
        hide("rich")
        import fasttrt
        from fasttrt._common.progress import counter, reporter

        class Terminal(io.StringIO):
            def isatty(self):
                return True

        sys.stderr = Terminal()
        with reporter(None) as report:
            report(fasttrt.BuildProgress("phase", "", 0, 1))
        assert not sys.stderr.getvalue()
        for bar in (lambda: reporter(True), lambda: counter(True, 3)):
            try:
                with bar():
                    pass
            except fasttrt.MissingPackageError as error:
                print(error)
    """
    text = f"a progress bar needs rich, which is not installed: {install_command('cli')}"
    assert python_output(code).splitlines() == [text, text]


def test_constants_are_not_left_unfolded_for_want_of_onnxscript() -> None:
    code = """
        from support.hidden_packages import hide
        hide("onnxscript")
        import fasttrt
        from fasttrt._graph.constant_folding import fold_constants
        from fasttrt._graph.model import OnnxModel
        from onnx.parser import parse_model

        def model(node):
            return OnnxModel(parse_model(
                '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) '
                f"<float one = {{1}}> {{ two = {node} y = Mul (x, two) }}"
            ))

        as_it_is = model("Neg (x)")
        assert fold_constants(as_it_is) is as_it_is
        try:
            fold_constants(model("Neg (one)"))
        except fasttrt.MissingPackageError as error:
            print(error.package, error.extra)
    """
    assert python_output(code) == "onnxscript onnx"


def test_a_package_that_is_broken_is_not_said_to_be_missing(tmp_path: Path) -> None:
    (tmp_path / "onnx.py").write_text("raise ImportError('libonnx.so: cannot open')\n")
    code = """
        import sys
        sys.path.insert(0, sys.argv[1])
        import fasttrt
        try:
            fasttrt.build(b"model")
        except fasttrt.MissingPackageError as error:
            print(error)
    """
    assert python_output(code, tmp_path) == (
        "reading these bytes needs onnx, which cannot be imported (libonnx.so: cannot open): "
        + install_command("onnx")
    )


def test_doctor_tests_itself_only_with_onnx() -> None:
    code = """
        import sys
        from support.hidden_packages import hide
        hide("onnx", "onnx_ir", "onnxscript", "onnxruntime")
        from fasttrt.__main__ import main
        sys.argv = ["fasttrt", "doctor"]
        main()
    """
    done = run_python(code)
    assert "advice    without onnx plans run, and nothing is built" in done.stdout, done.stderr
    assert "self-test" not in done.stdout


def test_grpc_needs_protobuf_and_http_does_not(tmp_path: Path) -> None:
    code = """
        import sys
        from support.hidden_packages import hide
        hide("google.protobuf")
        import fasttrt
        options = dict(http_port=0, metrics_port=None, control="explicit")
        fasttrt.serve(sys.argv[1], grpc_port=None, **options).close()
        try:
            fasttrt.serve(sys.argv[1], grpc_port=0, **options)
        except fasttrt.MissingPackageError as error:
            print(error)
    """
    assert python_output(code, tmp_path) == (
        f"gRPC needs protobuf, which is not installed: {install_command('serve')}"
    )
