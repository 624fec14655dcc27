"""What is taken for a class, and what is not."""

import numpy as np
import pytest

from xnorflow.bnn.network import Argmax, Conv2d, Dense, Input, Network, Threshold
from xnorflow.cosim.classes import classes, meaning

NONE = np.zeros(0, np.int64)


def network(outputs: int, *rest) -> Network:
    dense = Dense("scores", ("x",), weight=np.ones((outputs, 4)))
    return Network("n", (Input("x", (), shape=(4,)), dense, *rest))


def sign(channels: int) -> Threshold:
    return Threshold("sign", ("scores",), threshold=np.zeros(channels, int), direction=np.ones(channels))


IMAGE = Network("n", (Input("x", (), shape=(4, 4, 1)), Conv2d("c", ("x",), weight=np.ones((2, 3, 3, 1)))))
SCORES = {"scores": np.array([[-2], [0], [4]])}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (network(3, Argmax("argmax", ("scores",))), "class"),
        (network(1, Argmax("argmax", ("scores",))), "class"),
        (network(3), "class"),
        (network(1), "score"),
        (network(1, sign(1)), "score"),
        (network(3, sign(3)), "values"),
        (IMAGE, "values"),
    ],
)
def test_what_an_output_is(given, expected):
    assert meaning(given) == expected


def test_scores_of_several_classes_and_an_argmax():
    scores = np.array([[0, 4, 4], [2, 0, -2]])
    assert classes(network(3), {"scores": scores}, NONE)[0].tolist() == [1, 0]  # a tie goes to the lowest
    chosen = network(3, Argmax("argmax", ("scores",)))
    assert classes(chosen, {"scores": scores, "argmax": np.array([[2], [1]])}, NONE)[0].tolist() == [2, 1]


@pytest.mark.parametrize("labels", [[0, 1, 1], [1, 1], [0], [-1, 1, 1], [-1], [1, -1]])
def test_the_sign_of_one_score_is_a_class_where_labels_say_so(labels):
    found, terms = classes(network(1), SCORES, np.array(labels))
    assert found.tolist() == [0, 1, 1]  # 0 counts as positive
    assert terms.tolist() == [int(label > 0) for label in labels]


@pytest.mark.parametrize("labels", [[], [0, 2], [7, 7, 7], [-1, 0, 1], [-2]])
def test_one_score_is_no_class_otherwise(labels):
    found, terms = classes(network(1), SCORES, np.array(labels, int))
    assert found is None and terms.tolist() == labels


def test_bits_and_images_are_no_class():
    assert classes(network(3, sign(3)), {"sign": np.ones((2, 3), int)}, np.array([0, 1]))[0] is None
    assert classes(IMAGE, {"c": np.ones((2, 2, 2, 2), int)}, NONE)[0] is None
