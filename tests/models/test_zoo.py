import math

import pytest
import torch

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends.torch import module_input
from xnorflow.models import zoo


def test_an_unknown_model_lists_the_choices() -> None:
    with pytest.raises(UserError, match="unknown model 'mnist_bn'") as error:
        zoo.get("mnist_bn")
    for name in zoo.ZOO:
        assert name in str(error.value)


@pytest.mark.parametrize("name", zoo.ZOO)
def test_a_model_takes_its_input_and_gives_a_score_for_each_class_or_one_for_two(name: str) -> None:
    definition = zoo.get(name)
    outputs = {"collision": 1, "vowels": 9}.get(definition.dataset, 10)
    encoded = torch.ones((2, *definition.input.shape)).numpy()
    if definition.framework == "pytorch":
        assert definition.build().eval()(module_input(encoded, definition.input)).shape == (2, outputs)
    else:
        pytest.importorskip("tensorflow", reason="needs xnorflow[keras]")
        assert definition.build()(encoded).shape == (2, outputs)


@pytest.mark.parametrize("name", zoo.ZOO)
def test_the_input_is_consistent(name: str) -> None:
    definition = zoo.get(name)
    assert definition.name == name
    sizes = {"mnist": 784, "cifar10": 3072, "collision": 40 * 54, "vowels": 29 * 12, "digits": 64}
    assert math.prod(definition.input.shape) == sizes[definition.dataset]
    if definition.input.kind == "bipolar":
        assert definition.input.bits == 1
        assert definition.binarise_at is not None
    else:
        assert definition.binarise_at is None


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("mnist_bnn", [784, 128, 10]),
        ("mnist_sfc", [784, 256, 256, 256, 10]),
        ("mnist_lfc", [784, 1024, 1024, 1024, 10]),
    ],
)
def test_the_dense_models_have_the_published_sizes(name: str, sizes: list[int]) -> None:
    weights = [layer.weight.shape for layer in zoo.get(name).build() if isinstance(layer, torch.nn.Linear)]
    assert [tuple(shape) for shape in weights] == list(zip(sizes[1:], sizes[:-1], strict=True))
