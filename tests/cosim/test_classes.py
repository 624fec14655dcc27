"""What is taken for a class, and what is not."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.narrowed import there

from xnorflow.bnn.network import Argmax, Conv2d, Dense, Input, Network, Threshold
from xnorflow.cosim.classes import MOST_POINTS, classes, meaning, precision_recall

NONE = np.zeros(0, np.int64)


def network(outputs: Any, *rest: Any) -> Network:
    dense = Dense("scores", ("x",), weight=np.ones((outputs, 4), np.int8))
    return Network("n", (Input("x", (), shape=(4,)), dense, *rest))


def sign(channels: int) -> Threshold:
    return Threshold("sign", ("scores",), threshold=np.zeros(channels, int), direction=np.ones(channels, np.int8))


IMAGE = Network("n", (Input("x", (), shape=(4, 4, 1)), Conv2d("c", ("x",), weight=np.ones((2, 3, 3, 1), np.int8))))
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
def test_what_an_output_is(given: Network, expected: str) -> None:
    assert meaning(given) == expected


def test_scores_of_several_classes_and_an_argmax() -> None:
    scores = np.array([[0, 4, 4], [2, 0, -2]])

    def found(results: Any, of: Network) -> Any:
        return there(classes(of, results, NONE)[0]).tolist()

    assert found({"scores": scores}, network(3)) == [1, 0]  # a tie goes to the lowest
    chosen = network(3, Argmax("argmax", ("scores",)))
    assert found({"scores": scores, "argmax": np.array([[2], [1]])}, chosen) == [2, 1]


@pytest.mark.parametrize("labels", [[0, 1, 1], [1, 1], [0], [-1, 1, 1], [-1], [1, -1]])
def test_the_sign_of_one_score_is_a_class_where_labels_say_so(labels: list[int]) -> None:
    found, terms = classes(network(1), SCORES, np.array(labels))
    assert there(found).tolist() == [0, 1, 1]  # 0 counts as positive
    assert terms.tolist() == [int(label > 0) for label in labels]


@pytest.mark.parametrize("labels", [[], [0, 2], [7, 7, 7], [-1, 0, 1], [-2]])
def test_one_score_is_no_class_otherwise(labels: list[int]) -> None:
    found, terms = classes(network(1), SCORES, np.array(labels, int))
    assert found is None and terms.tolist() == labels


def test_bits_and_images_are_no_class() -> None:
    assert classes(network(3, sign(3)), {"sign": np.ones((2, 3), int)}, np.array([0, 1]))[0] is None
    assert classes(IMAGE, {"c": np.ones((2, 2, 2, 2), int)}, NONE)[0] is None


# --- precision and recall


def points(scores: Any, labels: Any) -> Any:
    """The curve, by a count of its own."""
    score = scores[:, 0] if scores.shape[1] == 1 else scores[:, 1] - scores[:, 0]
    return [
        [int(least), int(((score >= least) & (labels == 1)).sum()), int(((score >= least) & (labels == 0)).sum())]
        for least in sorted(set(score.tolist()), reverse=True)
    ]


@given(st.data(), st.integers(1, 2), st.integers(2, 40))
def test_a_curve_counts_what_each_threshold_takes(data: st.DataObject, outputs: NDArray[Any], count: int) -> None:
    whole = st.lists(st.integers(-6, 6), min_size=count * outputs, max_size=count * outputs)  # type: ignore[arg-type]
    scores = np.array(data.draw(whole)).reshape(count, outputs)
    labels = np.array([0, 1, *data.draw(st.lists(st.integers(0, 1), min_size=count - 2, max_size=count - 2))])
    curve = there(precision_recall(network(outputs), {"scores": scores}, labels))
    assert curve.points == points(scores, labels)
    assert curve.positives == labels.sum()
    found, _ = classes(network(outputs), {"scores": scores}, labels)
    taken = [point for point in curve.points if point[0] >= curve.threshold]
    assert (taken[-1][1:] if taken else [0, 0]) == [int(((found == 1) & (labels == k)).sum()) for k in (1, 0)]
    steps = zip([[0, 0, 0], *curve.points], curve.points, strict=False)
    area = sum((now[1] - before[1]) * now[1] / (now[1] + now[2]) for before, now in steps) / labels.sum()
    assert curve.average_precision == pytest.approx(area)


def test_a_long_curve_keeps_its_ends() -> None:
    scores, labels = np.arange(1000)[:, None], np.arange(1000) % 2
    curve = there(precision_recall(network(1), {"scores": scores}, labels))
    assert len(curve.points) == MOST_POINTS
    assert (curve.points[0], curve.points[-1]) == ([999, 1, 0], [0, 500, 500])


def test_the_scores_before_an_argmax_are_ranked() -> None:
    chosen = network(2, Argmax("argmax", ("scores",)))
    results = {"scores": np.array([[0, 3], [4, 0]]), "argmax": np.array([[1], [0]])}
    assert there(precision_recall(chosen, results, np.array([1, 0]))).points == [[3, 1, 0], [-4, 1, 1]]


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        (network(3), [0, 1, 1]),
        (network(1, Argmax("argmax", ("scores",))), [0, 1, 1]),
        (network(1), [0, 0, 0]),
        (network(1), [1, 1, 1]),
        (network(1), [0, 7, 3]),
        (network(1), []),
    ],
)
def test_there_is_no_curve_without_two_classes_and_images_of_both(given: Network, labels: list[int]) -> None:
    scores = np.zeros((3, given.signals["scores"].size), np.int64)
    results = {"scores": scores, "argmax": np.zeros((3, 1), np.int64)}
    assert precision_recall(given, results, np.array(labels, np.int64)) is None
