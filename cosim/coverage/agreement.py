"""Whether all operands of a neuron can agree with its weights at once.

A carry into the highest bit of a sum may be lost only where the sum is at its most: where every operand has its
weight's sign. Behind thresholds of an earlier layer that asks for a side of each of that layer's hyperplanes, and most
often no input is on all those sides. The proof is a sum of these demands, each times a factor of 0 or more: where what
is demanded in all is more than any input gives, none gives what each demands. Factors are searched by multiplicative
weights in floating point, made whole numbers, and what they prove is computed in integers.
"""

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import Dense, IntArray, Network, Threshold, weight_bits

_STEPS, _EACH = 1500, 100
_RATE = 0.5
_WHOLE = 1 << 20  # what factors of 1 become

#: Products that a proof may take.
_AFFORDABLE = 2e11


def never_agree(network: Network, dense: Dense) -> NDArray[np.bool_]:
    """Say of which neurons of a dense layer no input makes all operands agree with the weights, shape (neurons,).

    What is not proved is False: so it is of all that does not read thresholds of a dense layer, or takes too long.
    """
    neurons = len(dense.weight)
    unknown = np.zeros(neurons, np.bool_)
    sign = network[dense.inputs[0]]
    before = network[sign.inputs[0]] if isinstance(sign, Threshold) else None
    if not isinstance(sign, Threshold) or not isinstance(before, Dense):
        return unknown
    able = network.signals[sign.name]
    if weight_bits(dense.weight) > 1 or weight_bits(before.weight) > 2 or (able.low == able.high).any():
        return unknown
    if 2 * _STEPS * neurons * before.weight.size > _AFFORDABLE:
        return unknown
    operand, step = network.signals[before.inputs[0]], network.signals[before.name].step
    wanted = dense.weight.astype(np.int64)
    up = sign.direction.astype(np.int64)
    side = wanted * up  # side * sum >= demand puts each sum where its sign is the weight
    demand = np.where(wanted > 0, up * sign.threshold, step - up * sign.threshold)
    weight = before.weight.astype(np.int64)
    low, high = operand.low, operand.high
    real, factors = weight.astype(np.float64), np.full(wanted.shape, 1.0)
    total, proved = np.zeros(wanted.shape), unknown
    for number in range(1, _STEPS + 1):
        given = (factors * side) @ real
        x = np.where(given > 0, high, low).astype(np.float64)
        margin = side * (x @ real.T) - demand
        total += factors
        factors = factors * np.exp(-_RATE * margin / max(1.0, np.abs(margin).max()))
        factors /= factors.mean(axis=1, keepdims=True)
        if number % _EACH == 0:
            for tried in (total / number, factors):
                proved = proved | _proves(np.rint(tried * _WHOLE).astype(np.int64), side, demand, weight, low, high)
            if proved.all():
                break
    return proved


def _proves(
    factors: IntArray, side: IntArray, demand: IntArray, weight: IntArray, low: IntArray, high: IntArray
) -> NDArray[np.bool_]:
    """Say whether what is demanded in all is more than any input gives, in integers, shape (neurons,)."""
    given = (factors * side) @ weight
    most = np.maximum(given * low, given * high).sum(axis=1)
    shown: NDArray[np.bool_] = (factors * demand).sum(axis=1) > most
    return shown
