"""A bitstream on pins that nobody chose is published as what it is."""

from pathlib import Path

from xnorflow.flows.steps.synthesis import _keep_bitstream
from xnorflow.hls.synthesis.nextpnr import Placement
from xnorflow.hls.synthesis.targets import Resources
from xnorflow.hls.synthesis.tools import Tool


def placed(folder: Path, bitstream: Path | None) -> Placement:
    tool = Tool("nextpnr-ecp5", "0.99", ("nextpnr-ecp5",), False)
    sites = {"aclk": "X0/Y9/PIOA", "in_bit": "X4/Y0/PIOB"}
    return Placement("ecp5-25k", tool, {}, Resources(), 99.0, (), 1.0, False, bitstream, "", folder, sites)


def test_its_name_and_the_file_beside_it_say_that_it_is_not_for_a_board(tmp_path: Path) -> None:
    (tmp_path / "design.bit").write_text("bits")
    folder = tmp_path / "entry"
    folder.mkdir()
    bitstream, pins = _keep_bitstream(placed(tmp_path, tmp_path / "design.bit"), "ecp5", folder)
    assert bitstream == "bitstream_ecp5_not_for_a_board.bit"
    assert (folder / bitstream).read_text() == "bits"
    assert pins
    told = (folder / pins).read_text()
    assert "not for a board: nextpnr-ecp5 0.99 chose these pins of ecp5-25k" in told
    assert told.splitlines()[-2:] == ["aclk   X0/Y9/PIOA", "in_bit X4/Y0/PIOB"]


def test_without_a_bitstream_there_is_no_file(tmp_path: Path) -> None:
    assert _keep_bitstream(placed(tmp_path, None), "ecp5", tmp_path) == (None, None)
    assert not any(tmp_path.iterdir())
