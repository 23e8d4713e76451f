"""Tables as text: what fits, what folds, what becomes blocks; nothing is ever cut."""

from __future__ import annotations

import re

import pytest

from fasttrt._common.tables import Column, fold, name, number, render

COLUMNS = (name("output"), number("max abs"), number("cosine"), Column("verdict"))
ROWS = [
    ["logits", "0.000123", "0.9999999", "passed"],
    ["encoder/layer.11/attention/output/LayerNorm/Add_1_output_0", "12.5", "-", "FAILED"],
]


def test_without_a_limit_each_row_is_a_line() -> None:
    assert render(COLUMNS, ROWS) == [
        "output                                                       max abs     cosine  verdict",
        "----------------------------------------------------------  --------  ---------  -------",
        "logits                                                      0.000123  0.9999999  passed",
        "encoder/layer.11/attention/output/LayerNorm/Add_1_output_0      12.5          -  FAILED",
    ]


def test_long_names_fold() -> None:
    assert render(COLUMNS, ROWS, 60) == [
        "output                           max abs     cosine  verdict",
        "------------------------------  --------  ---------  -------",
        "logits                          0.000123  0.9999999  passed",
        "encoder/layer.11/attention/         12.5          -  FAILED",
        "output/LayerNorm/Add_1_output_",
        "0",
    ]


def test_what_does_not_fit_becomes_blocks() -> None:
    assert render(COLUMNS, ["m.onnx, batch 1", *ROWS], 40) == [
        "m.onnx, batch 1",
        "logits",
        "  max abs 0.000123  cosine 0.9999999",
        "  verdict passed",
        "encoder/layer.11/attention/output/",
        "LayerNorm/Add_1_output_0",
        "  max abs 12.5  cosine -  verdict FAILED",
    ]


@pytest.mark.parametrize("width", [1, 12, 20, 40, 60, 80, 200])
def test_nothing_is_lost_at_any_width(width: int) -> None:
    lines = render(COLUMNS, ROWS, width)
    text = "".join(line.strip() for line in lines)
    for row in ROWS:
        for cell in row[1:]:  # figures and words are whole
            assert any(re.search(rf"(^|\s){re.escape(cell)}($|\s)", line) for line in lines), cell
    if width < 40:
        assert all(row[0] in text for row in ROWS)
    if width >= 20:
        assert max(map(len, lines)) <= width


@pytest.mark.parametrize("text", ["", "a b,c", "x" * 50, "日本語" * 9, "é́" * 20, "a/b" * 20])
@pytest.mark.parametrize("width", [1, 2, 7, 100])
def test_a_folded_text_is_the_text(text: str, width: int) -> None:
    assert "".join(fold(text, width)) == text


def test_wide_characters_count_twice() -> None:
    assert fold("日本語", 4) == ["日本", "語"]
    first, _, second = render([name("n"), number("x")], [["日本", "1"]])
    assert (first, second) == ("n     x", "日本  1")
