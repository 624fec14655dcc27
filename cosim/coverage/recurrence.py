"""Faults of a recurrent layer, followed along its steps.

Before the first step at which the faulty neuron decides otherwise all states are the right ones. So vectors in which it
never does are left out, and for the others the whole layer is computed with the fault in it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import IntArray, Recurrent, Signal
from xnorflow.cosim.coverage import channels
from xnorflow.cosim.coverage.faults import Faults

Bits = NDArray[np.bool_]
Signs = NDArray[np.int8]


class FaultyRecurrent:
    """A recurrent layer, and its operand for some vectors.

    Parameters
    ----------
    operation : Recurrent
    operand : Signal
    x : integer array, shape (vectors, *operand shape)
    """

    def __init__(self, operation: Recurrent, operand: Signal, x: NDArray[np.integer[Any]]) -> None:
        self._operation, self._shape = operation, operation.infer(operand).shape
        self._least = operation.sums(operand).low
        self._weight = operation.weight.T.astype(np.float32)  # so few of -1, 0 and +1 add up exactly
        self._x = x.reshape(len(x), -1, operand.channels).astype(np.int64)
        self._states, self._sums = self._run(self._x)

    def turned(self, group: Faults, fault: IntArray, vector: IntArray) -> Bits:
        """Say in which vectors a faulty neuron decides otherwise at any step, shape (rows,).

        Parameters
        ----------
        group : Faults
            Of the layer.
        fault, vector : int64 array, shape (rows,)
            Index into the group, and into the vectors.
        """
        channel, place = group.channel[fault], group.place[fault]
        found = np.zeros(len(fault), np.bool_)
        for t in range(self._x.shape[1]):
            before = self._states[vector, t - 1, place % self._x.shape[2]]
            decided = self._decided(group, fault, t, self._sums[vector, t, channel], before)
            found |= decided != self._states[vector, t, channel]
        return found

    def faulty(self, group: Faults, fault: IntArray, vector: IntArray) -> Signs:
        """Return the layer's results with the faults in them, shape (rows, *result shape); arguments as `turned`."""
        states, _ = self._run(self._x[vector], group, fault)
        return (states[:, -1] if self._operation.last else states).reshape(len(fault), *self._shape)

    def _run(self, x: IntArray, group: Faults | None = None, fault: IntArray | None = None) -> tuple[Signs, IntArray]:
        """Return states and sums of every step, shape (rows, steps, channels).

        If there are faults, one is in each row's states; the sums are what it adds to.
        """
        operation, states, row = self._operation, np.empty(x.shape, np.int8), np.arange(len(x))
        every = x.copy()
        for t in range(x.shape[1]):
            sums = every[:, t]
            if t:
                sums += self._fed_back(states[:, t - 1])
            limit = operation.threshold if t else operation.first
            passed = np.where(operation.direction > 0, sums >= limit, sums <= limit)
            states[:, t] = np.where(passed, 1, -1)
            if group is not None and fault is not None:
                channel, place = group.channel[fault], group.place[fault] % x.shape[2]
                before = states[row, t - 1, place]  # at the first step no fault reads it
                states[row, t, channel] = self._decided(group, fault, t, sums[row, channel], before)
        return states, every

    def _fed_back(self, states: Signs) -> IntArray:
        return (states.astype(np.float32) @ self._weight).astype(np.int64) << self._operation.shift

    def _decided(self, group: Faults, fault: IntArray, t: int, sums: IntArray, before: Signs) -> Signs:
        """Return the faulty neurons' states at a step from their right sums, and the states that a weight is of."""
        operation = self._operation
        channel, place, value = group.channel[fault], group.place[fault], group.value[fault]
        limit, direction = (operation.threshold if t else operation.first)[channel], operation.direction[channel]
        if group.kind == "weight" and t:
            sums = sums + ((value - operation.weight[channel, place]) * before << operation.shift)
        elif group.kind == "carry" and t:
            sums = sums - np.where(sums - self._least[channel] >= value, value, 0)
        elif group.kind == "threshold":
            limit = np.where(place == (t == 0), value, limit)
        elif group.kind == "direction":
            direction = value
        return channels.signs(sums, limit, direction)
