"""Messages of the package in the words of the command line."""

from __future__ import annotations

import pytest

from fasttrt._cli.messages import in_options


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            'The model parses with freeze={"axes": [1], "k": True} and dims={"batch": 8}: tried.',
            "The model parses with --freeze 'axes=[1]' --freeze k=true and --dims batch=8: tried.",
        ),
        (
            'pass shapes={"x": (min (n, 3), opt (n, 3), max (n, 3)), '
            '"s": (min values, opt values, max values)}',
            "pass --shapes x=MIN:OPT:MAX, each a shape (n, 3); --shapes s=MIN:OPT:MAX, each values",
        ),
        ("shapes: the model has no input 'z'", "--shapes: the model has no input 'z'"),
        ("x: expected a shape in shapes=, got 3", "x: expected a shape in --shapes, got 3"),
        ("no shapes= passed; building for x", "no --shapes passed; building for x"),
        ("BuildConfig.optimization_level: bad", "--builderOptimizationLevel: bad"),
        ("with config=BuildConfig(version_compatible=True)", "with --versionCompatible"),
        ('precision="fp16": 3 converted', "--precision fp16: 3 converted"),
        ("precision=fp16 applies to GPUs", "--precision fp16 applies to GPUs"),
        ("with precision='bf16'", "with --precision bf16"),
        ("library=None quantizes", "--library none quantizes"),
        ("only from plugins=[...]", "only from --plugins VALUE"),
        ("inputs: expected 2 arrays (a, b), got 1", "--inputs: expected 2 arrays (a, b), got 1"),
        ("x: random strings are not generated; pass inputs=",
         "x: random strings are not generated; pass --inputs"),
        ("inputs: expected dtype float32", "inputs: expected dtype float32"),  # a tensor of theirs
        ("--dims: expected n=8, got 'batch=x'", "--dims: expected n=8, got 'batch=x'"),
        ("x: expected 3, got 'seed=1'", "x: expected 3, got 'seed=1'"),
        ("freeze={broken", "--freeze name=VALUE"),
    ],
)  # fmt: skip
def test_options_for_arguments(message: str, expected: str) -> None:
    assert in_options(message) == expected
