"""Sequences: a module that takes them, as one that takes images of one row, which is what a Network has for them."""

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from xnorflow.bnn.network import Input


def as_image(module: nn.Module, input: Input) -> tuple[nn.Module, Input, str | None]:
    """Make a module for sequences one for images of one row.

    Parameters
    ----------
    module : nn.Module
        It is not changed.
    input : Input
        Where it is of shape (length, channels), the module takes (N, channels, length), as PyTorch's convolutions do,
        or, where it fails on that, (N, length, channels), as its recurrent layers do with ``batch_first``.

    Returns
    -------
    nn.Module
        Takes (N, channels, 1, length); `module` itself where the input is no sequence.
    Input
        Of shape (1, length, channels).
    str or None
        That the length comes before the channels, if it does.
    """
    if len(input.shape) != 2:
        return module, input, None
    length, channels = input.shape
    image = replace(input, shape=(1, length, channels))
    copied = copy.deepcopy(module)
    inner: Any = copied
    while isinstance(inner, nn.DataParallel):  # which a trace takes off
        inner = inner.module
    swapped = not _takes(copied, channels, length) and _takes(copied, length, channels)
    inner.register_forward_pre_hook(_length_first if swapped else _channels_first)
    note = f"sequences go in as (N, {length}, {channels}), their length before their channels" if swapped else None
    return copied, image, note


def _takes(module: nn.Module, *shape: int) -> bool:
    try:
        with torch.no_grad():
            copy.deepcopy(module).cpu().eval()(torch.zeros(2, *shape))
    except Exception:  # whatever the module's own code raises
        return False
    return True


def _channels_first(module: nn.Module, given: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return given[0].squeeze(2)


def _length_first(module: nn.Module, given: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return given[0].squeeze(2).transpose(1, 2)
