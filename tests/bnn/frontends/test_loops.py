"""Loops over time in a module's own code: one operation each, equal to the module, or copies where they are no such."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.bnn.frontends.torch_chains import agree, hostile
from torch import Tensor, nn

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends.torch import convert, trace
from xnorflow.bnn.network import Conv2d, Input, Operation, Recurrent, SumPool2d, Threshold
from xnorflow.models.layers import BinaryConv2d, BinaryLinear, BinaryRNN, Sign, binarize

STEPS = Input("x", (), shape=(1, 5, 3), kind="signed", bits=6)


class Looping(nn.Module):
    """Recurrent layers as they are written by hand, all of them in one loop over time.

    Attributes
    ----------
    begin : {"zeros", "ones"}
        The state before the first step.
    gain : int
        What the first layer's state counts as beside integers at the input.
    read : {"last", "states", "scores"}
        What is read out: the last state, every state, or the scores of every state.
    """

    def __init__(
        self,
        layers: int = 1,
        units: int = 6,
        begin: Literal["zeros", "ones"] = "zeros",
        gain: int = 8,
        read: Literal["last", "states", "scores"] = "last",
    ) -> None:
        super().__init__()
        self.inputs = nn.ModuleList(BinaryLinear(3 if n == 0 else units, units) for n in range(layers))
        self.states = nn.ModuleList(BinaryLinear(units, units) for _ in range(layers))
        self.norms = nn.ModuleList(nn.BatchNorm1d(units) for _ in range(layers))
        self.scores = BinaryLinear(units, 4)
        self.begin, self.units, self.gain, self.read = begin, units, gain, read

    def steps(self, count: int) -> list[int]:
        return list(range(count))

    def cell(self, layer: int, x: Tensor, state: Tensor) -> Tensor:
        fed_back = self.states[layer](state)
        return binarize(self.norms[layer](self.inputs[layer](x) + fed_back * (1 if layer else self.gain)))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2)
        states = [getattr(torch, self.begin)(len(x), self.units) for _ in self.inputs]
        read = []
        for t in self.steps(x.shape[2]):
            y = x[:, :, t]
            for layer in range(len(states)):
                y = states[layer] = self.cell(layer, y, states[layer])
            read.append(self.scores(y) if self.read == "scores" else y)
        return self.scores(read[-1]) if self.read == "last" else torch.stack(read, 2)


class BatchFirst(Looping):
    """Takes (N, T, features), as PyTorch's recurrent layers do with ``batch_first``."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2))


def kinds(module: nn.Module, input: Input = STEPS) -> list[type[Operation]]:
    return [type(operation) for operation in convert(module, "n", input).operations]


@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(
    module=st.builds(
        Looping,
        layers=st.integers(1, 3),
        units=st.sampled_from([4, 9]),
        begin=st.sampled_from(["zeros", "ones"]),
        gain=st.sampled_from([1, 2, 16]),
        read=st.sampled_from(["last", "states", "scores"]),
    ),
    steps=st.integers(2, 5),
    fraction=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_a_loop_is_one_operation_and_computes_what_the_module_does(
    module: Any, steps: int, fraction: int, seed: int
) -> None:
    torch.manual_seed(seed)
    for parameter in module.parameters():
        parameter.data.uniform_(-1, 1)
    input = Input("x", (), shape=(1, steps, 3), kind="signed", bits=6, fraction=fraction)
    agree(hostile(module.eval(), seed), input, seed)
    found = kinds(module, input)
    assert found.count(Recurrent) == len(module.inputs) and Threshold not in found


@pytest.mark.parametrize("read", ["last", "pooled"])
def test_our_own_layers_stack(read: str) -> None:
    torch.manual_seed(1)
    first = BinaryConv2d(3, 6, 1), nn.BatchNorm2d(6), Sign(), BinaryRNN(6, 7)
    rest = (BinaryRNN(7, 5, last=True),) if read == "last" else (BinaryRNN(7, 5), nn.AvgPool2d((1, 5)), nn.Flatten())
    module = nn.Sequential(*first, *rest, BinaryLinear(5, 4), nn.BatchNorm1d(4))
    for layer in module.modules():
        if isinstance(layer, BinaryRNN):
            layer.scale.data.uniform_(-0.4, 0.4)
            layer.bias.data.uniform_(-1, 1)
    agree(hostile(module.eval(), 1), STEPS, 1)
    expected = [Input, Conv2d, Threshold, Conv2d, Recurrent, Conv2d, Recurrent]
    assert kinds(module)[: 7 + (read == "pooled")] == [*expected, *[SumPool2d] * (read == "pooled")]


@pytest.mark.parametrize("kind", [Looping, BatchFirst])
def test_the_steps_may_be_an_axis_of_a_sequence(kind: Any) -> None:
    torch.manual_seed(4)
    module, input = hostile(kind().eval(), 4), replace(STEPS, shape=(5, 3))
    agree(module, input, 4)
    assert kinds(module, input)[:3] == [Input, Conv2d, Recurrent]
    assert convert(module, "n", input).input.shape == (1, 5, 3)


class Gated(nn.Module):
    """PyTorch's own recurrent layer; another one that is never called does not matter."""

    def __init__(self, layer: nn.Module, called: bool = True) -> None:
        super().__init__()
        self.state, self.scores, self.called = layer, BinaryLinear(3, 4), called

    def forward(self, x: Tensor) -> Tensor:
        read = x[:, -1]
        if self.called:
            result = self.state(x if isinstance(self.state, nn.RNNBase) else read)
            read = result if isinstance(result, Tensor) else result[0].flatten(1)[:, -3:]
        scores: Tensor = self.scores(read)
        return scores


@pytest.mark.parametrize("layer", [nn.RNN, nn.LSTM, nn.GRU, nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_real_valued_states_are_refused_by_name(layer: Any) -> None:
    made = layer(3, 3, batch_first=True) if issubclass(layer, nn.RNNBase) else layer(3, 3)
    with pytest.raises(UserError, match=rf"module 'state' \({layer.__name__}\): its state is real-valued.*BinaryRNN"):
        trace(Gated(made), "n", replace(STEPS, shape=(5, 3)))
    assert kinds(Gated(made, called=False), replace(STEPS, shape=(5, 3)))


class Backwards(Looping):
    def steps(self, count: int) -> list[int]:
        return list(range(count))[::-1]


class Few(Looping):
    def steps(self, count: int) -> list[int]:
        return list(range(count - 1))


class Changing(Looping):
    """Another weight in one of its steps."""

    count = 0

    def cell(self, layer: int, x: Tensor, state: Tensor) -> Tensor:
        self.count += 1
        return super().cell(layer, x * (-1 if self.count % 5 == 3 else 1), state)


@pytest.mark.parametrize("kind", [Backwards, Few, Changing])
def test_what_is_no_loop_over_the_sequence_stays_as_it_is_written(kind: Any) -> None:
    torch.manual_seed(2)
    module = hostile(kind().eval(), 2)
    agree(module, STEPS, 2)
    assert Recurrent not in kinds(module)


class Summing(Looping):
    """Adds up scores as it goes, so that every state is read by another layer."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2)
        state = torch.zeros(len(x), self.units)
        total = torch.zeros(len(x), 4)
        for t in range(x.shape[2]):
            state = self.cell(0, x[:, :, t], state)
            total = total + self.scores(state)
        return total


def test_states_that_are_read_on_the_way_leave_copies_and_a_note() -> None:
    torch.manual_seed(3)
    module = hostile(Summing().eval(), 3)
    agree(module, STEPS, 3)
    assert Recurrent not in kinds(module)
    (note,) = (note for note in trace(module, "n", STEPS).notes if "loop" in note)
    assert "a loop of 5 steps stays as that many copies" in note


def test_a_constant_state_to_begin_with_is_in_the_first_thresholds() -> None:
    module = Looping(begin="ones", gain=1).eval()
    network = convert(module, "n", STEPS)
    (state,) = (operation for operation in network.operations if isinstance(operation, Recurrent))
    np.testing.assert_array_equal(state.first, state.threshold - state.weight.astype(np.int64).sum(axis=1))
