"""Training of the zoo's models: ``python -m xnorflow train MODEL``.

Keras models train in :mod:`xnorflow.models.train_keras`.

Every random number is drawn from a generator seeded by the run's seed and the epoch, and the learning rate is a
function of the step alone. So a run that was interrupted and resumed at an epoch's end gives the same bits as one that
was not, and a seed gives the same bits every time on the same machine with the same number of threads.
"""

import math
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Required, TypedDict

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends.torch import module_input
from xnorflow.models import checkpoint, train_keras
from xnorflow.models.data import Dataset, encode
from xnorflow.models.layers import BinaryConv2d, BinaryLinear, clip_latent_weights
from xnorflow.models.zoo import Augmentation, ModelDefinition, Recipe

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

RUNS = Path("runs")
STATE = "state.pt"
SELECTION = (
    "the epoch with the best accuracy on a validation split, one twelfth of the training images, not trained on; "
    "the {} of equals; test images play no part"
)

FRAMEWORKS = {
    "pytorch": (("torch",), "latest"),
    "qkeras": (("tensorflow", "tf_keras", "QKeras"), "first"),
    "larq": (("tensorflow", "tf_keras", "larq"), "first"),
}
"""Packages that train a model, and which of several best epochs is taken."""


# --- images


def augment(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Randomly distorted copies of uint8 images (N, H, W[, C]): same shape and type, black beyond the border."""
    count, height, width = images.shape[:3]

    def draw(largest: float, *shape: int) -> Tensor:
        return (torch.rand(count, *shape, generator=generator) * 2 - 1) * largest

    angle = draw(math.radians(augmentation.rotation))
    x_scale, y_scale = 1 + draw(augmentation.scale), 1 + draw(augmentation.scale)
    shear = draw(augmentation.shear)
    x_shift, y_shift = draw(2 * augmentation.shift / width), draw(2 * augmentation.shift / height)
    if augmentation.crop:
        whole = torch.randint(-augmentation.crop, augmentation.crop + 1, (2, count), generator=generator)
        x_shift, y_shift = x_shift + 2 * whole[0] / width, y_shift + 2 * whole[1] / height
    cos, sin = angle.cos(), angle.sin()
    x_row = torch.stack([cos * x_scale, (shear * cos - sin) * y_scale, x_shift], dim=1)
    y_row = torch.stack([sin * x_scale, (shear * sin + cos) * y_scale, y_shift], dim=1)
    if augmentation.flip:
        x_row = x_row * (1 - 2 * torch.randint(0, 2, (count, 1), generator=generator))
    grid = F.affine_grid(torch.stack([x_row, y_row], dim=1), [count, 1, height, width], align_corners=False)
    if augmentation.elastic:
        coarse = draw(augmentation.elastic, 2, 5, 5)
        field = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
        grid = grid + field.permute(0, 2, 3, 1) * torch.tensor([2 / width, 2 / height])
    planes = images.reshape(count, height, width, -1).movedim(3, 1).float()
    moved = F.grid_sample(planes, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    if augmentation.gain or augmentation.offset:
        moved = moved * (1 + draw(augmentation.gain, 1, 1, 1)) + draw(augmentation.offset, 1, 1, 1)
    if augmentation.noise:
        for shape in (moved.shape, (*moved.shape[:2], 1, 1)):
            moved = moved + augmentation.noise * torch.randn(shape, generator=generator)
    return moved.round().clamp(0, 255).to(torch.uint8).movedim(1, 3).reshape(images.shape)


def _taken(images: Tensor, definition: ModelDefinition) -> Tensor:
    """uint8 images (N, H, W[, C]) as the module's float32 input."""
    return module_input(encode(images.numpy(), definition), definition.input)


def classes(scores: Tensor) -> Tensor:
    """Class of each row of scores (N, outputs): the largest one's; of a single output, 1 where it is 0 or more."""
    return (scores[:, 0] >= 0).long() if scores.shape[1] == 1 else scores.argmax(1)


def loss_of(scores: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
    """Mean cross-entropy of scores (N, outputs); a single output is the log-odds of class 1."""
    if scores.shape[1] == 1:
        scores = F.pad(scores, (1, 0))  # beside a score that is always 0
    return F.cross_entropy(scores, labels, label_smoothing=label_smoothing)


@torch.no_grad()
def classify(module: nn.Module, images: Tensor, definition: ModelDefinition) -> Tensor:
    """Class int64 (N,) that the module, put in eval mode, gives to each of the uint8 images (N, H, W[, C])."""
    module.eval()
    return torch.cat([classes(module(_taken(x, definition))) for x in images.split(1000)])


def count_correct(module: Any, images: Tensor, labels: Tensor, definition: ModelDefinition) -> int:
    """How many uint8 images (N, H, W[, C]) the module, put in eval mode, or Keras model classifies as labelled."""
    if definition.framework != "pytorch":
        return train_keras.count_correct(module, images.numpy(), labels.numpy(), definition)
    return int((classify(module, images, definition) == labels).sum())


# --- one run


@dataclass(frozen=True)
class Run:
    """What determines the result of a training, and where it keeps its state and logs."""

    definition: ModelDefinition
    recipe: Recipe
    seed: int
    dataset: Dataset
    folder: Path

    def identity(self) -> dict[str, object]:
        """What an interrupted run must share with this one to be resumed by it."""
        return {
            "model": self.definition.name,
            "dataset": {"name": self.dataset.name, "digest": self.dataset.digest},
            "recipe": asdict(self.recipe),
            "seed": self.seed,
        }


def _tensors(images: NDArray[Any], labels: NDArray[Any]) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(images), torch.from_numpy(labels)


def _split(dataset: Dataset, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images and labels, then validation images and labels."""
    order = np.random.default_rng(seed).permutation(len(dataset.train_labels))
    held_out, rest = np.split(order, [len(order) // 12])
    images, labels = _tensors(dataset.train_images, dataset.train_labels)
    return images[rest], labels[rest], images[held_out], labels[held_out]


def _batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    for batch in torch.randperm(count, generator=generator).split(size):
        if len(batch) > 1:  # batch norm has no statistics of a single image
            yield batch


def _signs(module: nn.Module) -> dict[str, Tensor]:
    layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, BinaryLinear | BinaryConv2d)}
    return {name: layer.weight.detach() >= 0 for name, layer in layers.items()}


def _train_epoch(
    run: Run, epoch: int, module: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor
) -> tuple[float, float]:
    """Train for one epoch; the mean loss and the accuracy over its (distorted) images."""
    recipe = run.recipe
    generator = torch.Generator().manual_seed(run.seed * 1_000_003 + epoch)
    steps = math.ceil(len(images) / recipe.batch_size)
    total_loss, correct = 0.0, 0
    module.train()
    for step, batch in enumerate(_batches(len(images), recipe.batch_size, generator)):
        progress = (epoch * steps + step) / (recipe.epochs * steps)
        cosine = (1 + math.cos(math.pi * progress)) / 2
        for group in optimizer.param_groups:
            group["lr"] = recipe.final_learning_rate + (recipe.learning_rate - recipe.final_learning_rate) * cosine
        x, y = images[batch], labels[batch]
        if recipe.augmentation is not None:
            x = augment(x, recipe.augmentation, generator)
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
            scores = module(_taken(x, run.definition))
        loss = loss_of(scores.float(), y, recipe.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        clip_latent_weights(module)
        total_loss += loss.item() * len(batch)
        correct += int((classes(scores) == y).sum())
    return total_loss / len(images), correct / len(images)


class _Best(TypedDict, total=False):
    """The epoch with the best validation accuracy so far, from 1, and its module."""

    accuracy: Required[float]
    epoch: int
    module: dict[str, Tensor]


class _State(TypedDict):
    """What an interrupted run goes on from."""

    identity: dict[str, object]
    epochs_done: int
    module: dict[str, Tensor]
    optimizer: dict[str, object]
    best: _Best


def _load_state(path: Path, identity: dict[str, object], console: Console) -> _State | None:
    """The state that an interrupted run left, or None if there is none that this run could continue."""
    if not path.exists():
        return None
    try:
        state: _State = torch.load(path, weights_only=True)
        if state["identity"] == identity:
            console.print(f"resuming after epoch {state['epochs_done']}")
            return state
        console.print("starting anew: the interrupted run had another recipe or other data")
        return None
    except Exception as error:  # torch raises many types for a damaged file
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path} is damaged ({reason}); start anew with --no-resume") from error


def _save_state(path: Path, state: _State) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def _event_writer(folder: Path, first_epoch: int) -> "SummaryWriter":
    """TensorBoard's event file of a run; what an earlier run logged for ``first_epoch`` and later leaves the view."""
    # With this module there TensorBoard does without TensorFlow, which takes seconds to import and is noisy.
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=first_epoch)


def _fit(run: Run, console: Console, resume: bool) -> tuple[nn.Sequential, int, float]:
    """Train by the recipe; the module of the best epoch, that epoch (from 1) and its validation accuracy."""
    definition, recipe, dataset = run.definition, run.recipe, run.dataset
    images, labels, validation_images, validation_labels = _split(dataset, run.seed)
    test_images, test_labels = _tensors(dataset.test_images, dataset.test_labels)

    torch.manual_seed(run.seed)
    module = definition.build()
    module.to(memory_format=torch.channels_last)  # convolutions train 1.5 times as fast
    optimizer = torch.optim.Adam(module.parameters(), fused=True)
    state_path, identity = run.folder / STATE, run.identity()
    first_epoch = 0
    best: _Best = {"accuracy": -1.0}
    state = _load_state(state_path, identity, console) if resume else None
    if state is not None:
        module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        first_epoch, best = state["epochs_done"], state["best"]

    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
    with _event_writer(run.folder, first_epoch) as writer, Progress(*columns, console=console) as progress:
        task = progress.add_task(definition.name, total=recipe.epochs, completed=first_epoch)
        for epoch in range(first_epoch, recipe.epochs):
            before = _signs(module)
            loss, train_accuracy = _train_epoch(run, epoch, module, optimizer, images, labels)
            validation, test = (
                count_correct(module, x, y, definition) / len(y)
                for x, y in ((validation_images, validation_labels), (test_images, test_labels))
            )
            writer.add_scalar("loss/train", loss, epoch)
            writer.add_scalar("learning_rate", optimizer.param_groups[0]["lr"], epoch)
            for name, accuracy in (("train", train_accuracy), ("validation", validation), ("test", test)):
                writer.add_scalar(f"accuracy/{name}", accuracy, epoch)
            for name, signs in _signs(module).items():
                writer.add_scalar(f"flipped_signs/{name}", (signs != before[name]).float().mean(), epoch)
            for name, parameter in module.named_parameters():
                writer.add_histogram(name, parameter, epoch)

            if validation >= best["accuracy"]:
                copy = {key: tensor.clone() for key, tensor in module.state_dict().items()}
                best = {"accuracy": validation, "epoch": epoch + 1, "module": copy}
            _save_state(
                state_path,
                {
                    "identity": identity,
                    "epochs_done": epoch + 1,
                    "module": module.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "best": best,
                },
            )
            progress.advance(task)
            console.print(
                f"epoch {epoch + 1:3}  loss {loss:.4f}  accuracy: train {train_accuracy:.4f}"
                f"  validation {validation:.4f}  test {test:.4f}"
            )
    module.load_state_dict(best["module"])
    return module, best["epoch"], best["accuracy"]


def run_folder(definition: ModelDefinition, seed: int, runs: Path = RUNS) -> Path:
    """Return the folder of a run: TensorBoard's logs, the state from which it resumes, its checkpoint."""
    return runs / f"{definition.name}-seed{seed}"


def train(
    definition: ModelDefinition,
    dataset: Dataset,
    path: Path,
    *,
    epochs: int | None = None,
    seed: int = 0,
    runs: Path = RUNS,
    resume: bool = True,
    console: Console | None = None,
) -> checkpoint.Checkpoint:
    """Train a model by its recipe and save its checkpoint; what is returned is what was read back from ``path``.

    Parameters
    ----------
    epochs
        In place of the recipe's.
    runs
        Folder under which the run keeps its TensorBoard logs and the state from which it resumes.
    resume
        Go on where an interrupted run of the same model, data, recipe and seed stopped; a Keras model's starts anew.
    """
    console = console or Console()
    recipe = definition.recipe if epochs is None else replace(definition.recipe, epochs=epochs)
    run = Run(definition, recipe, seed, dataset, run_folder(definition, seed, runs))
    run.folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(run.folder / "lock", timeout=0):
            return _train(run, path, console, resume)
    except Timeout as error:
        raise UserError(f"another training of {definition.name} with seed {seed} is running in {run.folder}") from error


def _train(run: Run, path: Path, console: Console, resume: bool) -> checkpoint.Checkpoint:
    definition, dataset = run.definition, run.dataset
    packages, which = FRAMEWORKS[definition.framework]
    if definition.framework == "pytorch":
        module, best_epoch, validation_accuracy = _fit(run, console, resume)
    else:
        images, labels, *validation = (tensor.numpy() for tensor in _split(dataset, run.seed))
        module, best_epoch, validation_accuracy = train_keras.fit(
            definition, run.recipe, run.seed, (images, labels), (validation[0], validation[1]), run.folder
        )
    metadata = run.identity() | {
        "dataset": {"name": dataset.name, "digest": dataset.digest, "note": dataset.note},
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in (*packages, "numpy")}},
        "epochs": run.recipe.epochs,
        "selection": {"rule": SELECTION.format(which), "epoch": best_epoch, "validation_accuracy": validation_accuracy},
    }
    # Measured on the model as it reads back from disk, in a draft: no checkpoint at ``path`` lacks its accuracy.
    draft = path.with_name(f".{path.name}.draft")
    try:
        checkpoint.save(draft, definition.name, module, metadata)
        reloaded = checkpoint.load(draft)
    finally:
        draft.unlink(missing_ok=True)
    test_images, test_labels = _tensors(dataset.test_images, dataset.test_labels)
    correct = count_correct(reloaded.module, test_images, test_labels, definition)
    metadata["test"] = {"accuracy": correct / len(test_labels), "correct": correct, "count": len(test_labels)}
    checkpoint.save(path, definition.name, reloaded.module, metadata)
    (run.folder / STATE).unlink(missing_ok=True)  # nothing is left to resume: the same command trains again
    return checkpoint.load(path)


def destination(
    definition: ModelDefinition, seed: int = 0, out: Path | None = None, *, replace_checkpoint: bool = False
) -> Path:
    """Return the checkpoint that a training is to write, if it may.

    Parameters
    ----------
    out
        Where the user wants it; else it goes to the run's folder.
    replace_checkpoint
        Whether it is to take the place of the zoo's own.

    Raises
    ------
    UserError
        If both are given, or if something is at ``out``, or cannot be written there.
    """
    if replace_checkpoint:
        if out is not None:
            raise UserError(f"to replace the zoo's checkpoint and to write {out} exclude each other: give one of them")
        return checkpoint.path_of(definition)
    if out is None:
        return run_folder(definition, seed) / checkpoint.path_of(definition).name
    try:
        if out.is_symlink() or out.exists():
            raise UserError(f"{out} is there already: choose another OUT, or move it away")
        if not out.parent.is_dir():
            raise UserError(f"{out}: no folder {out.parent}; make it, or choose another OUT")
        with out.open("xb"):
            pass
        out.unlink()
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}); choose another OUT") from None
    return out
