import gzip
import shutil
import struct
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.network import Input
from xnorflow.models import cifar10, data, zoo

NAMES = {
    "train-images-idx3-ubyte": (5, 28, 28),
    "train-labels-idx1-ubyte": (5,),
    "t10k-images-idx3-ubyte": (3, 28, 28),
    "t10k-labels-idx1-ubyte": (3,),
}


def idx(array: Any) -> Any:
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def array_of(name: str) -> Any:
    generator = np.random.default_rng(len(name))
    return generator.integers(0, 256 if "images" in name else 10, NAMES[name], dtype=np.uint8)


def write_mnist(folder: Path, compress: Callable[..., Any] = lambda content: content, suffix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        (folder / f"{name}{suffix}").write_bytes(compress(idx(array_of(name))))


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data folder in the environment, and an empty cache."""
    monkeypatch.delenv(data.DATA_VARIABLE, raising=False)
    monkeypatch.setattr(data, "cache_folder", lambda: tmp_path / "cache")


# --- MNIST


@pytest.mark.parametrize("place", [".", "MNIST/raw", "mnist"])
@pytest.mark.parametrize(("compress", "suffix"), [(lambda content: content, ""), (gzip.compress, ".gz")])
def test_mnist_is_read_from_each_place(tmp_path: Path, place: str, compress: Callable[..., Any], suffix: str) -> None:
    write_mnist(tmp_path / place, compress, suffix)
    dataset = data.load("mnist", tmp_path)
    assert dataset.name == "mnist"
    for name, array in zip(
        NAMES, (dataset.train_images, dataset.train_labels, dataset.test_images, dataset.test_labels), strict=True
    ):
        np.testing.assert_array_equal(array, array_of(name))
    assert (dataset.test_images.dtype, dataset.test_labels.dtype) == (np.dtype("u1"), np.dtype("i8"))


def test_the_environment_variable_and_the_cache_stand_in_for_the_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mnist(data.cache_folder() / "MNIST" / "raw")
    assert len(data.load("mnist").test_labels) == 3
    monkeypatch.setenv(data.DATA_VARIABLE, str(tmp_path / "empty"))
    with pytest.raises(UserError, match=r"XNORFLOW_DATA: no folder .*empty"):
        data.load("mnist")
    write_mnist(tmp_path / "full")
    assert len(data.load("mnist", tmp_path / "full").test_labels) == 3


def test_the_digest_depends_on_every_array(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    digests = {data.load("mnist", tmp_path).digest}
    assert digests == {data.load("mnist", tmp_path).digest}
    for name in NAMES:
        array = array_of(name)
        array.flat[0] = (array.flat[0] + 1) % 10
        (tmp_path / name).write_bytes(idx(array))
        digests.add(data.load("mnist", tmp_path).digest)
    assert len(digests) == 5


def test_no_mnist_anywhere_names_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError) as error:
        data.load("mnist")
    assert "--data" in str(error.value)
    assert data.DATA_VARIABLE in str(error.value)
    assert "torchvision" in str(error.value)


def test_a_failing_download_gives_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)  # import raises ModuleNotFoundError
    with pytest.raises(UserError, match=r"(?s)torchvision cannot download it \(ModuleNotFoundError.*--data"):
        data.load("mnist", download=True)


def test_a_download_is_read_from_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    class Module:
        @staticmethod
        def MNIST(root: Path, download: Any) -> None:
            assert download
            write_mnist(root / "MNIST" / "raw")

    monkeypatch.setitem(sys.modules, "torchvision.datasets", Module)
    assert len(data.load("mnist", download=True).test_labels) == 3
    assert data.evaluation_images(zoo.get("mnist_bnn"))[1] == "mnist"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t10k-images-idx3-ubyte", b"", "begins with , not 00000803"),
        ("t10k-images-idx3-ubyte", idx(np.zeros((3, 784), np.uint8)), "begins with 00000802, not 00000803"),
        ("t10k-images-idx3-ubyte", bytes((0, 0, 8, 3)) + b"\0\0", "truncated: 6 bytes, its header alone has 16"),
        ("t10k-images-idx3-ubyte", idx(np.zeros((3, 28, 28), np.uint8))[:-1], "should have 2352 bytes .* has 2351"),
        ("t10k-images-idx3-ubyte", idx(np.zeros((3, 28, 28), np.uint8)) + b"\0", "should have 2352 bytes .* has 2353"),
        ("t10k-images-idx3-ubyte", bytes((0, 0, 8, 3)) + b"\xff" * 12, "should have .* has 0"),
        ("t10k-images-idx3-ubyte", idx(np.zeros((3, 8, 8), np.uint8)), "8x8 pixels, expected 28x28"),
        ("t10k-labels-idx1-ubyte", idx(np.zeros(4, np.uint8)), "has 3 images, but .* has 4 labels"),
        ("t10k-labels-idx1-ubyte", idx(np.full(3, 10, np.uint8)), "label 10, expected 0 to 9"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    write_mnist(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"(?s){name}.*{message}|{message}"):
        data.load("mnist", tmp_path)


@pytest.mark.parametrize("damage", [lambda content: content[:-20], lambda content: b"no gzip", lambda content: b""])
def test_a_bad_gzip_file_is_named(tmp_path: Path, damage: Callable[..., Any]) -> None:
    write_mnist(tmp_path, gzip.compress, ".gz")
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte\.gz"):
        data.load("mnist", tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(UserError, match="t10k-labels-idx1-ubyte"):
        data.load("mnist", tmp_path)


# --- CIFAR-10


def write_cifar10(folder: Path, suffix: str = ".png", size: int = 32) -> None:
    """One image of each class in train/, two in test/; each is of one colour, its label and its number."""
    for part, count in (("train", 1), ("test", 2)):
        for label, name in enumerate(cifar10.CLASSES):
            (folder / part / name).mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (size, size), (label, index, 0)).save(folder / part / name / f"{index:04}{suffix}")


@pytest.mark.parametrize("place", [".", "cifar10", "cifar-10"])
@pytest.mark.parametrize("suffix", [".png", ".PNG"])
def test_cifar10_is_read_from_each_place_and_any_first_images_have_all_classes(
    tmp_path: Path, place: str, suffix: str
) -> None:
    write_cifar10(tmp_path / place, suffix)
    dataset = data.load("cifar10", tmp_path)
    assert (dataset.train_images.shape, dataset.test_images.shape) == ((10, 32, 32, 3), (20, 32, 32, 3))
    assert (dataset.test_images.dtype, dataset.test_labels.dtype) == (np.dtype("u1"), np.dtype("i8"))
    assert dataset.test_labels.tolist() == [*range(10), *range(10)]
    np.testing.assert_array_equal(dataset.test_images[:, 7, 8, 0], dataset.test_labels)
    np.testing.assert_array_equal(dataset.test_images[:, 7, 8, 1], [0] * 10 + [1] * 10)


def test_jpegs_and_grey_images_are_read_as_colours(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    Image.new("L", (32, 32), 77).save(tmp_path / "test" / "ship" / "0000.jpeg")
    images = data.load("cifar10", tmp_path).test_images
    assert (images == 77).all(axis=(1, 2, 3)).sum() == 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "test" / "frog" / "0001.png").write_bytes(b""), r"frog.0001\.png is not an image"),
        (
            lambda folder: Image.new("RGB", (28, 32)).save(folder / "test" / "cat" / "0000.png"),
            "28x32 pixels, expected",
        ),
        (lambda folder: shutil.rmtree(folder / "train" / "dog"), "dog has no images"),
        (lambda folder: shutil.rmtree(folder / "test"), "no CIFAR-10 in .*train/<class>"),
    ],
)
def test_bad_images_of_cifar10_are_named_with_what_is_wrong(
    tmp_path: Path, damage: Callable[..., Any], message: str
) -> None:
    write_cifar10(tmp_path)
    damage(tmp_path)
    with pytest.raises(UserError, match=message):
        data.load("cifar10", tmp_path)


def test_what_torchvision_downloads_is_read_by_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    class Module:
        class CIFAR10:
            def __init__(self, root: Path, train: bool = True, download: bool = False) -> None:
                batches = root / "cifar-10-batches-py"
                if download:
                    batches.mkdir(parents=True)
                    (batches / "test_batch").write_bytes(b"")
                self.data = np.full((6 if train else 3, 32, 32, 3), 9, np.uint8)
                self.targets = [1] * len(self.data)

    monkeypatch.setitem(sys.modules, "torchvision.datasets", Module)
    definition = zoo.get("cifar10_cnv")
    assert data.evaluation_files(definition) == []
    assert len(data.training_images(definition).train_labels) == 6
    assert data.evaluation_images(definition)[1] == "cifar10"
    assert [path.name for path in data.evaluation_files(definition)] == ["test_batch"]
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)  # import raises ModuleNotFoundError
    with pytest.raises(UserError, match=r"torchvision cannot read .*cifar-10-batches-py \(ModuleNotFoundError"):
        data.evaluation_images(definition)


def test_without_cifar10_pieces_of_photographs_stand_in(tmp_path: Path) -> None:
    dataset, name = data.evaluation_images(zoo.get("cifar10_cnv"))
    assert name == "photographs_as_cifar10"
    assert (dataset.test_images.shape, len(dataset.test_labels)) == ((520, 32, 32, 3), 0)
    # Pieces, not lines that were wrapped: neighbouring rows of a piece are alike.
    rows = dataset.test_images.astype(int)
    assert np.abs(np.diff(rows, axis=1)).mean() < 0.5 * np.abs(rows[:, 1:] - rows[::-1, :-1]).mean()


def test_evaluation_files_are_those_that_are_read(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "cifar10")
    write_mnist(tmp_path)
    assert len(data.evaluation_files(zoo.get("cifar10_cnv"), tmp_path)) == 30
    assert [path.name for path in data.evaluation_files(zoo.get("mnist_bnn"), tmp_path)] == sorted(NAMES)
    assert data.evaluation_files(zoo.get("digits_bnn"), tmp_path) == []


# --- digits


def test_digits_split_is_fixed_and_stratified() -> None:
    dataset = data.digits()
    assert (dataset.train_images.shape, dataset.test_images.shape) == ((1437, 8, 8), (360, 8, 8))
    assert dataset.train_images.max() == 16
    for label in range(10):
        assert abs((dataset.test_labels == label).sum() - 36) <= 1
    assert dataset.digest == data.digits().digest


def test_digits_as_mnist_look_like_mnist() -> None:
    dataset = data.digits_as_mnist()
    images = dataset.test_images
    assert (images.shape, images.dtype, len(dataset.train_labels)) == ((1797, 28, 28), np.dtype("u1"), 0)
    assert images.max() == 255
    border = np.ones((28, 28), bool)
    border[4:24, 4:24] = False
    assert not images[:, border].any()
    inked = (images >= 128).mean()
    assert 0.05 < inked < 0.25  # MNIST's own test images: 0.10


def test_evaluation_images_choose_mnist_if_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    definition = zoo.get("mnist_bnn")
    assert data.evaluation_images(definition)[1] == "digits_as_mnist"
    write_mnist(tmp_path / "there")
    dataset, which = data.evaluation_images(definition, tmp_path / "there")
    assert (dataset.name, which, len(dataset.test_images)) == ("mnist", "mnist", 3)
    monkeypatch.setenv(data.DATA_VARIABLE, str(tmp_path / "there"))
    assert data.evaluation_images(definition)[1] == "mnist"
    assert data.evaluation_images(zoo.get("digits_bnn"))[1] == "digits"
    with pytest.raises(UserError, match="no MNIST in"):
        data.evaluation_images(definition, tmp_path)


# --- encoding


def test_bipolar_encoding_starts_at_the_threshold() -> None:
    images = np.array([[[0, 127], [128, 255]]], np.uint8)
    encoded = data.encode(images, replace(zoo.get("mnist_bnn"), input=Input("input", (), (4,))))
    assert (encoded.tolist(), encoded.dtype) == ([[-1, -1, 1, 1]], np.dtype("i1"))


def test_unsigned_encoding_keeps_the_pixels_channels_last() -> None:
    images = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    encoded = data.encode(images, replace(zoo.get("mnist_cnn"), input=Input("input", (), (2, 3, 1), "unsigned", 8)))
    assert (encoded.shape, encoded.dtype) == ((2, 2, 3, 1), np.dtype("u1"))
    np.testing.assert_array_equal(encoded[..., 0], images)


def test_signed_encoding_is_around_the_middle_of_the_pixels() -> None:
    images = np.array([[[0, 127], [128, 255]]], np.uint8)
    encoded = data.encode(images, replace(zoo.get("cifar10_cnv"), input=Input("input", (), (2, 2, 1), "signed", 8)))
    assert (encoded.ravel().tolist(), encoded.dtype) == ([-128, -1, 0, 127], np.dtype("i1"))


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(UserError, match=r"\(8, 8\) do not fit .*\(784,\)"):
        data.encode(np.zeros((1, 8, 8), np.uint8), zoo.get("mnist_bnn"))
