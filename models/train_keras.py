"""Training of the zoo's Keras models, the way of Keras: ``model.fit`` with callbacks. See :mod:`.train`."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.frontends.keras_file import import_keras
from xnorflow.models.data import encode
from xnorflow.models.zoo import ModelDefinition, Recipe

_BEST = "best.weights.h5"


def taken(images: NDArray[Any], definition: ModelDefinition) -> NDArray[Any]:
    """uint8 images (N, H, W) as the model's float32 input."""
    return (encode(images, definition) / 2.0**definition.input.fraction).astype(np.float32)


def count_correct(model: Any, images: NDArray[Any], labels: NDArray[Any], definition: ModelDefinition) -> int:
    """How many of the uint8 images (N, H, W) the model classifies as labelled."""
    scores = model.predict(taken(images, definition), batch_size=1000, verbose=0)
    return int((scores.argmax(axis=1) == labels).sum())


def fit(
    definition: ModelDefinition,
    recipe: Recipe,
    seed: int,
    training: tuple[NDArray[Any], NDArray[Any]],
    validation: tuple[NDArray[Any], NDArray[Any]],
    folder: Path,
) -> tuple[Any, int, float]:
    """Train by the recipe; the model of the best epoch, that epoch (from 1) and its validation accuracy.

    Parameters
    ----------
    training, validation
        Images uint8 (N, H, W) and labels int64 (N,).
    folder
        For TensorBoard's logs, and the best weights so far.
    """
    keras = import_keras()
    import tensorflow

    keras.utils.set_random_seed(seed)
    tensorflow.config.experimental.enable_op_determinism()
    model = definition.build()
    classes = model.output_shape[-1]
    images, labels = training
    steps = recipe.epochs * int(np.ceil(len(images) / recipe.batch_size))
    decay = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate, steps, alpha=recipe.final_learning_rate / recipe.learning_rate
    )
    model.compile(
        keras.optimizers.Adam(decay),
        keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
        metrics=["accuracy"],
    )
    history = model.fit(
        taken(images, definition),
        keras.utils.to_categorical(labels, classes),
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
        validation_data=(taken(validation[0], definition), keras.utils.to_categorical(validation[1], classes)),
        callbacks=[
            keras.callbacks.TensorBoard(str(folder), histogram_freq=1),
            keras.callbacks.ModelCheckpoint(
                str(folder / _BEST), monitor="val_accuracy", save_best_only=True, save_weights_only=True
            ),
        ],
        verbose=2,
    ).history["val_accuracy"]
    model.load_weights(str(folder / _BEST))
    (folder / _BEST).unlink()
    return model, int(np.argmax(history)) + 1, float(max(history))
