"""A bitstream on pins that nobody chose is published as what it is."""

from pathlib import Path

from xnorflow.flows.cache import Entry
from xnorflow.flows.steps.synthesis import _keep_bitstream


def test_its_name_and_the_file_beside_it_say_that_it_is_not_for_a_board(tmp_path: Path) -> None:
    (tmp_path / "design.bit").write_text("bits")
    made = {"bitstream": str(tmp_path / "design.bit"), "pins": {"aclk": "X0/Y9/PIOA", "in_bit": "X4/Y0/PIOB"}}
    row = {"target": "ecp5", "placement": made | {"tool": "nextpnr-ecp5 0.99", "device": "ecp5-25k"}}
    folder = tmp_path / "entry"
    folder.mkdir()
    _keep_bitstream(row, Entry(folder, "key"))
    placement = row["placement"]
    assert placement["bitstream"] == "bitstream_ecp5_not_for_a_board.bit"
    assert (folder / placement["bitstream"]).read_text() == "bits"
    told = (folder / placement["pins"]).read_text()
    assert "not for a board: nextpnr-ecp5 0.99 chose these pins of ecp5-25k" in told
    assert told.splitlines()[-2:] == ["aclk   X0/Y9/PIOA", "in_bit X4/Y0/PIOB"]
