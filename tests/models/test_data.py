import gzip
import struct
import sys
from dataclasses import replace

import numpy as np
import pytest

from bnn.errors import UserError
from bnn.network import Input
from models import data, zoo

NAMES = {
    "train-images-idx3-ubyte": (5, 28, 28),
    "train-labels-idx1-ubyte": (5,),
    "t10k-images-idx3-ubyte": (3, 28, 28),
    "t10k-labels-idx1-ubyte": (3,),
}


def idx(array):
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def array_of(name):
    generator = np.random.default_rng(len(name))
    return generator.integers(0, 256 if "images" in name else 10, NAMES[name], dtype=np.uint8)


def write_mnist(folder, compress=lambda content: content, suffix=""):
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        (folder / f"{name}{suffix}").write_bytes(compress(idx(array_of(name))))


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """No data folder in the environment, and an empty cache."""
    monkeypatch.delenv(data.DATA_VARIABLE, raising=False)
    monkeypatch.setattr(data, "cache_folder", lambda: tmp_path / "cache")


# --- MNIST


@pytest.mark.parametrize("place", [".", "MNIST/raw", "mnist"])
@pytest.mark.parametrize(("compress", "suffix"), [(lambda content: content, ""), (gzip.compress, ".gz")])
def test_mnist_is_read_from_each_place(tmp_path, place, compress, suffix):
    write_mnist(tmp_path / place, compress, suffix)
    dataset = data.mnist(tmp_path)
    assert dataset.name == "mnist"
    for name, array in zip(
        NAMES, (dataset.train_images, dataset.train_labels, dataset.test_images, dataset.test_labels), strict=True
    ):
        np.testing.assert_array_equal(array, array_of(name))
    assert (dataset.test_images.dtype, dataset.test_labels.dtype) == (np.uint8, np.int64)


def test_the_environment_variable_and_the_cache_stand_in_for_the_argument(tmp_path, monkeypatch):
    write_mnist(data.cache_folder() / "MNIST" / "raw")
    assert len(data.mnist().test_labels) == 3
    monkeypatch.setenv(data.DATA_VARIABLE, str(tmp_path / "empty"))
    with pytest.raises(UserError, match=r"no MNIST in .*empty"):
        data.mnist()
    write_mnist(tmp_path / "full")
    assert len(data.mnist(tmp_path / "full").test_labels) == 3


def test_the_digest_depends_on_every_array(tmp_path):
    write_mnist(tmp_path)
    digests = {data.mnist(tmp_path).digest}
    assert digests == {data.mnist(tmp_path).digest}
    for name in NAMES:
        array = array_of(name)
        array.flat[0] = (array.flat[0] + 1) % 10
        (tmp_path / name).write_bytes(idx(array))
        digests.add(data.mnist(tmp_path).digest)
    assert len(digests) == 5


def test_no_mnist_anywhere_names_both_ways(monkeypatch):
    with pytest.raises(UserError) as error:
        data.mnist()
    assert "--data" in str(error.value)
    assert data.DATA_VARIABLE in str(error.value)
    assert "torchvision" in str(error.value)


def test_a_failing_download_gives_its_reason(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)  # import raises ModuleNotFoundError
    with pytest.raises(UserError, match=r"(?s)torchvision cannot download it \(ModuleNotFoundError.*--data"):
        data.mnist(download=True)


def test_a_download_is_read_from_the_cache(monkeypatch):
    class Module:
        @staticmethod
        def MNIST(root, download):
            assert download
            write_mnist(root / "MNIST" / "raw")

    monkeypatch.setitem(sys.modules, "torchvision.datasets", Module)
    assert len(data.mnist(download=True).test_labels) == 3
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
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path, name, content, message):
    write_mnist(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"(?s){name}.*{message}|{message}"):
        data.mnist(tmp_path)


@pytest.mark.parametrize("damage", [lambda content: content[:-20], lambda content: b"no gzip", lambda content: b""])
def test_a_bad_gzip_file_is_named(tmp_path, damage):
    write_mnist(tmp_path, gzip.compress, ".gz")
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte\.gz"):
        data.mnist(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(UserError, match="t10k-labels-idx1-ubyte"):
        data.mnist(tmp_path)


# --- digits


def test_digits_split_is_fixed_and_stratified():
    dataset = data.digits()
    assert (dataset.train_images.shape, dataset.test_images.shape) == ((1437, 8, 8), (360, 8, 8))
    assert dataset.train_images.max() == 16
    for label in range(10):
        assert abs((dataset.test_labels == label).sum() - 36) <= 1
    assert dataset.digest == data.digits().digest


def test_digits_as_mnist_look_like_mnist():
    dataset = data.digits_as_mnist()
    images = dataset.test_images
    assert (images.shape, images.dtype, len(dataset.train_labels)) == ((1797, 28, 28), np.uint8, 0)
    assert images.max() == 255
    border = np.ones((28, 28), bool)
    border[4:24, 4:24] = False
    assert not images[:, border].any()
    inked = (images >= 128).mean()
    assert 0.05 < inked < 0.25  # MNIST's own test images: 0.10


def test_evaluation_images_choose_mnist_if_it_is_there(tmp_path, monkeypatch):
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


def test_bipolar_encoding_starts_at_the_threshold():
    images = np.array([[[0, 127], [128, 255]]], np.uint8)
    encoded = data.encode(images, replace(zoo.get("mnist_bnn"), input=Input("input", (), (4,))))
    assert (encoded.tolist(), encoded.dtype) == ([[-1, -1, 1, 1]], np.int8)


def test_unsigned_encoding_keeps_the_pixels_channels_last():
    images = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    encoded = data.encode(images, replace(zoo.get("mnist_cnn"), input=Input("input", (), (2, 3, 1), "unsigned", 8)))
    assert (encoded.shape, encoded.dtype) == ((2, 2, 3, 1), np.uint8)
    np.testing.assert_array_equal(encoded[..., 0], images)


def test_images_of_another_size_are_refused():
    with pytest.raises(UserError, match=r"\(8, 8\) do not fit .*\(784,\)"):
        data.encode(np.zeros((1, 8, 8), np.uint8), zoo.get("mnist_bnn"))
