"""The models of the zoo: what each is, what it takes in, and the recipe that trained its committed checkpoint.

Adding a model is adding an entry to :data:`ZOO`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.network import Input

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Augmentation:
    """Largest random distortion of a training image; each is drawn uniformly, per image and epoch.

    Attributes
    ----------
    rotation
        Degrees either way.
    scale
        Relative change of size per axis, either way.
    shear
        Horizontal shear either way, as a slope.
    shift
        Pixels either way, per axis.
    elastic
        Pixels by which the points of a coarse 5 x 5 grid move either way, per axis; between them the field is smooth.
    crop
        Whole pixels either way, per axis, which blur nothing.
    flip
        Whether half of the images are mirrored, left to right.
    gain
        Relative change of all pixels, either way.
    offset
        What is added to all pixels, either way, in steps of 8-bit pixels.
    noise
        Standard deviation of what is added to each value, in steps of 8-bit pixels, and once more to each channel.
    """

    rotation: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    elastic: float = 0.0
    crop: int = 0
    flip: bool = False
    gain: float = 0.0
    offset: float = 0.0
    noise: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: Adam, a cosine from ``learning_rate`` down to ``final_learning_rate`` over all steps.

    With ``bfloat16`` PyTorch computes a step's layers in that type where it may (autocast), which is faster;
    parameters, their updates and all evaluation stay float32.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    final_learning_rate: float
    label_smoothing: float
    augmentation: Augmentation | None
    bfloat16: bool = False


@dataclass(frozen=True)
class ModelDefinition:
    """A model of the zoo.

    Attributes
    ----------
    input
        The integers that it takes in.
    build
        Makes the untrained model in its framework, which it imports: an ``nn.Sequential``, or a Keras ``Sequential``.
    framework
        What it is written and trained in.
    binarise_at
        Smallest pixel that becomes +1; for a bipolar input only.
    """

    name: str
    description: str
    dataset: Literal["mnist", "cifar10", "collision", "vowels", "digits"]
    input: Input
    recipe: Recipe
    build: Callable[[], Any]
    framework: Literal["pytorch", "qkeras", "larq"] = "pytorch"
    binarise_at: int | None = None


def _dense(*sizes: int) -> "Callable[[], nn.Sequential]":
    def build() -> "nn.Sequential":
        from xnorflow.models.layers import BNN

        return BNN(sizes)

    return build


def _mnist_cnn() -> "nn.Sequential":
    from torch import nn

    from xnorflow.models.layers import BinaryConv2d, BinaryLinear, Sign

    return nn.Sequential(
        *(BinaryConv2d(1, 32, 3, padding=1), nn.MaxPool2d(2), nn.BatchNorm2d(32), Sign()),
        *(BinaryConv2d(32, 64, 3, padding=1), nn.MaxPool2d(2), nn.BatchNorm2d(64), Sign()),
        *(nn.Flatten(), BinaryLinear(7 * 7 * 64, 128), nn.BatchNorm1d(128), Sign()),
        *(BinaryLinear(128, 10), nn.BatchNorm1d(10)),
    )


def _mnist_resnet() -> "nn.Sequential":
    from torch import nn

    from xnorflow.models.layers import BinaryConv2d, BinaryLinear, Residual, Sign

    def block() -> nn.Module:
        return Residual(nn.BatchNorm2d(32), Sign(), BinaryConv2d(32, 32, 3, padding=1))

    return nn.Sequential(
        *(BinaryConv2d(1, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), Sign()),
        *(BinaryConv2d(16, 32, 3, stride=2, padding=1), block(), block(), nn.BatchNorm2d(32), Sign()),
        *(nn.AvgPool2d(2), nn.Flatten(), BinaryLinear(3 * 3 * 32, 10), nn.BatchNorm1d(10)),
    )


def _cifar10_cnv() -> "nn.Sequential":
    from torch import nn

    from xnorflow.models.layers import BNN, BinaryConv2d, Sign

    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 64), (64, 128), (128, 256)):
        for index, channels in enumerate((inputs, outputs)):
            pool = [nn.MaxPool2d(2)] if index and outputs != 256 else []
            layers += [BinaryConv2d(channels, outputs, 3), *pool, nn.BatchNorm2d(outputs), Sign()]
    return nn.Sequential(*layers, nn.Flatten(), *BNN((256, 512, 512, 10)))


def _drone_bnn() -> "nn.Sequential":
    from torch import nn

    from xnorflow.models.layers import BinaryConv2d, BinaryLinear, Sign

    def block(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
        return BinaryConv2d(inputs, outputs, 3), nn.MaxPool2d(2), nn.BatchNorm2d(outputs), Sign()

    return nn.Sequential(
        *(*block(1, 16), *block(16, 32), *block(32, 64)),
        *(BinaryConv2d(64, 64, 3), nn.BatchNorm2d(64), Sign()),
        *(nn.Flatten(), BinaryLinear(3 * 64, 1), nn.BatchNorm1d(1)),
    )


def _vowels_rnn() -> "nn.Sequential":
    from torch import nn

    from xnorflow.models.layers import BinaryConv2d, BinaryLinear, BinaryRNN, Sign

    return nn.Sequential(
        *(BinaryConv2d(12, 128, 1), nn.BatchNorm2d(128), Sign(), BinaryRNN(128, 128)),
        *(nn.AvgPool2d((1, 29)), nn.Flatten(), BinaryLinear(128, 9), nn.BatchNorm1d(9)),
    )


def _mnist_qkeras() -> Any:
    from xnorflow.bnn.frontends.keras_file import import_keras

    keras = import_keras()
    from qkeras import QActivation, QDense, binary

    layers = keras.layers
    model = keras.Sequential([layers.InputLayer((784,))])
    for units in (128, 128, 10):
        model.add(QDense(units, kernel_quantizer=binary(alpha=1), use_bias=False))
        model.add(layers.BatchNormalization())
        # Both quantise to -1 and +1; without alpha, the gradient is that of tanh, else that of a straight line.
        model.add(QActivation(binary()) if units != 10 else layers.Activation("softmax"))
    return model


def _mnist_larq() -> Any:
    """Build the network of Larq's own introduction to it, "Binarised MNIST"."""
    from xnorflow.bnn.frontends.keras_file import import_keras

    keras = import_keras()
    from larq.layers import QuantConv2D, QuantDense

    layers = keras.layers
    kernel = {"kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip", "use_bias": False}
    both = {"input_quantizer": "ste_sign", **kernel}
    return keras.Sequential(
        [
            *(layers.InputLayer((28, 28, 1)), QuantConv2D(32, 3, **kernel)),  # whose input is not binary
            *(layers.MaxPooling2D(2), layers.BatchNormalization(scale=False)),
            *(QuantConv2D(64, 3, **both), layers.MaxPooling2D(2), layers.BatchNormalization(scale=False)),
            *(QuantConv2D(64, 3, **both), layers.BatchNormalization(scale=False), layers.Flatten()),
            *(QuantDense(64, **both), layers.BatchNormalization(scale=False)),
            *(QuantDense(10, **both), layers.BatchNormalization(scale=False), layers.Activation("softmax")),
        ]
    )


_BINARY_MNIST = Input("input", (), shape=(784,), kind="bipolar")

_CAMERA = Augmentation(rotation=3, scale=0.1, crop=2, flip=True, gain=0.3, offset=30)

_DEFINITIONS = (
    ModelDefinition(
        name="mnist_bnn",
        description="MNIST, 784-128-10, binarised input",
        dataset="mnist",
        input=_BINARY_MNIST,
        recipe=Recipe(200, 128, 5e-3, 1e-6, 0.0, Augmentation(rotation=5, scale=0.05, shift=0.5)),
        build=_dense(784, 128, 10),
        binarise_at=128,
    ),
    ModelDefinition(
        name="mnist_sfc",
        description="MNIST, 784-256-256-256-10, binarised input: the SFC topology of FINN (Umuroglu et al., 2017)",
        dataset="mnist",
        input=_BINARY_MNIST,
        recipe=Recipe(60, 256, 5e-3, 1e-6, 0.0, Augmentation(rotation=7, scale=0.07, shear=0.07, shift=1)),
        build=_dense(784, 256, 256, 256, 10),
        binarise_at=128,
    ),
    ModelDefinition(
        name="mnist_lfc",
        description="MNIST, 784-1024-1024-1024-10, binarised input: the LFC topology of FINN (Umuroglu et al., 2017)",
        dataset="mnist",
        input=_BINARY_MNIST,
        recipe=Recipe(60, 256, 5e-3, 1e-6, 0.0, Augmentation(rotation=10, scale=0.1, shear=0.1, shift=1.5, elastic=1)),
        build=_dense(784, 1024, 1024, 1024, 10),
        binarise_at=128,
    ),
    ModelDefinition(
        name="mnist_cnn",
        description="MNIST, two 3x3 binary convolutions (32, 64 channels) and two dense layers, 8-bit pixels",
        dataset="mnist",
        input=Input("input", (), shape=(28, 28, 1), kind="unsigned", bits=8),
        recipe=Recipe(30, 128, 5e-3, 1e-6, 0.0, Augmentation(rotation=10, scale=0.1, shear=0.1, shift=1.5, elastic=1)),
        build=_mnist_cnn,
    ),
    ModelDefinition(
        name="mnist_resnet_bnn",
        description="MNIST, a residual network of binary 3x3 convolutions whose integer sums are added, 8-bit pixels",
        dataset="mnist",
        input=Input("input", (), shape=(28, 28, 1), kind="unsigned", bits=8),
        recipe=Recipe(30, 128, 5e-3, 1e-6, 0.0, Augmentation(rotation=7, scale=0.07, shear=0.07, shift=1)),
        build=_mnist_resnet,
    ),
    ModelDefinition(
        name="mnist_qkeras",
        description="MNIST, 784-128-128-10 of QKeras, binarised input",
        dataset="mnist",
        input=_BINARY_MNIST,
        recipe=Recipe(100, 128, 2e-3, 1e-5, 0.0, None),
        build=_mnist_qkeras,
        framework="qkeras",
        binarise_at=128,
    ),
    ModelDefinition(
        name="mnist_larq",
        description="MNIST, Larq's example: 3x3 binary convolutions (32, 64, 64) and two dense layers, 8-bit pixels",
        dataset="mnist",
        input=Input("input", (), shape=(28, 28, 1), kind="unsigned", bits=8, fraction=8),
        recipe=Recipe(6, 64, 1e-3, 1e-5, 0.0, None),
        build=_mnist_larq,
        framework="larq",
    ),
    ModelDefinition(
        name="cifar10_cnv",
        description="CIFAR-10, six 3x3 binary convolutions (64 to 256 channels) and three dense layers, 8-bit pixels:"
        " the CNV topology of FINN (Umuroglu et al., 2017)",
        dataset="cifar10",
        input=Input("input", (), shape=(32, 32, 3), kind="signed", bits=8),
        recipe=Recipe(32, 100, 5e-3, 1e-6, 0.0, Augmentation(crop=3, flip=True), bfloat16=True),
        build=_cifar10_cnv,
    ),
    ModelDefinition(
        name="drone_bnn",
        description="a camera's frames of 54x40 8-bit pixels, obstacle too near or not: four 3x3 binary convolutions"
        " (16 to 64 channels) and one score, 0 or more for too near",
        dataset="collision",
        input=Input("input", (), shape=(40, 54, 1), kind="unsigned", bits=8),
        recipe=Recipe(40, 64, 5e-3, 1e-6, 0.0, _CAMERA),
        build=_drone_bnn,
    ),
    ModelDefinition(
        name="vowels_rnn",
        description="utterances of /ae/ by nine speakers, 29 frames of 12 features of 8 bits: a binary layer for each"
        " frame and a recurrent one, 128 units both, whose states are averaged over time",
        dataset="vowels",
        input=Input("input", (), shape=(1, 29, 12), kind="signed", bits=8),
        recipe=Recipe(150, 32, 5e-3, 1e-6, 0.05, Augmentation(noise=6)),
        build=_vowels_rnn,
    ),
    ModelDefinition(
        name="digits_bnn",
        description="scikit-learn's 8x8 digits, 64-256-256-10, binarised input; trains in seconds without a download",
        dataset="digits",
        input=Input("input", (), shape=(64,), kind="bipolar"),
        recipe=Recipe(200, 64, 5e-3, 1e-6, 0.0, Augmentation(rotation=8, scale=0.08, shift=0.4)),
        build=_dense(64, 256, 256, 10),
        binarise_at=6,
    ),
)

ZOO: dict[str, ModelDefinition] = {definition.name: definition for definition in _DEFINITIONS}


def get(name: str) -> ModelDefinition:
    """Definition of the zoo model ``name``.

    Raises
    ------
    UserError
        There is no such model; the message lists those that there are.
    """
    if name not in ZOO:
        raise UserError(f"unknown model {name!r}; choose one of: {', '.join(ZOO)}")
    return ZOO[name]
