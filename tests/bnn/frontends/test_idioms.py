"""The manual's table of idioms is what comes of each, by running all of it."""

import pytest
from tests.bnn.frontends import idioms

NEW = ("PReLU, a slope per channel", "cropped, enlarged, then a convolution", "resized by 1.5, nearest")
ROWS = [line.strip("| ").split(" | ") for line in idioms.MANUAL.read_text().splitlines() if line.startswith("|")]
TOLD = {row[0]: dict(zip(idioms.FRONT_ENDS, row[2:], strict=True)) for row in ROWS[2:]}


def test_the_manual_has_a_row_for_each_idiom_and_a_column_for_each_front_end() -> None:
    assert ROWS[0] == ["idiom", "on the", *idioms.FRONT_ENDS]
    assert [*TOLD] == [idiom.name for idiom in idioms.IDIOMS]
    assert {of for row in TOLD.values() for of in row.values()} <= {"equal", "equal, rounds", "refused", "-"}


@pytest.mark.parametrize("front_end", ["PyTorch", "Larq", "QONNX"])
@pytest.mark.parametrize("idiom", [idiom for idiom in idioms.IDIOMS if idiom.name in NEW], ids=lambda of: of.name)
def test_what_no_other_test_holds_is_as_the_manual_says(idiom: idioms.Idiom, front_end: str) -> None:
    assert idioms.cell(idiom, front_end) == TOLD[idiom.name][front_end]


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("idiom", idioms.IDIOMS, ids=lambda of: of.name)
def test_what_comes_of_an_idiom_is_what_the_manual_says(idiom: idioms.Idiom) -> None:
    assert {name: idioms.cell(idiom, name) for name in idioms.FRONT_ENDS} == TOLD[idiom.name]
