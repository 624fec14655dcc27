import json

import pytest
from rich.console import Console

from bnn.errors import UserError
from flows import regress


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Give the baseline of digits_bnn, the only one, and a function that runs the regression."""
    from models.zoo import ZOO

    monkeypatch.setattr("models.zoo.ZOO", {"digits_bnn": ZOO["digits_bnn"]})

    def run(**options):
        console = Console(record=True, width=200)
        equal = regress.regress(console, folder=tmp_path, **options)
        return equal, console.export_text()

    return tmp_path / "digits_bnn.json", run


def test_a_missing_baseline_differs_and_an_update_writes_it(place):
    path, run = place
    equal, printed = run()
    assert not equal
    assert "UPDATE=1" in printed
    assert run(update=True)[0]
    assert run()[0]
    assert json.loads(path.read_text())["model"] == "digits_bnn"


def test_a_planted_difference_is_named_with_both_sides(place):
    path, run = place
    run(update=True)
    baseline = json.loads(path.read_text())
    baseline["layers"]["dense2"] = "Dense [1] -> [2]"
    baseline["outputs"] = "0" * 64
    path.write_text(json.dumps(baseline))
    equal, printed = run()
    assert not equal
    assert "layers.dense2" in printed
    assert "Dense [1] -> [2]" in printed
    assert "0" * 64 in printed


def test_one_flipped_weight_is_a_difference(place, monkeypatch):
    _, run = place
    run(update=True)
    real = regress.read_network

    def flipped(found):
        network = real(found)
        first = network.operations[1]
        weight = first.weight.copy()
        weight[0, 0] *= -1
        operations = (network.operations[0], type(first)(first.name, first.inputs, weight), *network.operations[2:])
        return type(network)(network.name, operations)

    monkeypatch.setattr(regress, "read_network", flipped)
    equal, printed = run()
    assert not equal
    assert "outputs" in printed


def test_a_baseline_of_no_model_differs(place):
    path, run = place
    run(update=True)
    path.with_name("gone.json").write_text("{}")
    assert not run()[0]
    run(update=True)
    assert not path.with_name("gone.json").exists()


def test_a_damaged_baseline_is_told(place):
    path, run = place
    path.write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        run()
