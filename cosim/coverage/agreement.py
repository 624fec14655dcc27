"""Whether all operands of a neuron can agree with its weights at once.

A carry into the highest bit of a sum may be lost only where the sum is at its most: where every operand has its
weight's sign. Behind thresholds of an earlier layer that asks for a side of each of that layer's hyperplanes, and most
often no input is on all those sides. The proof is a sum of these demands, each times a factor of 0 or more: where what
is demanded in all is more than any input gives, none gives what each demands. Factors are searched by multiplicative
weights in floating point, made whole numbers, and what they prove is computed in integers. The inputs that this search
meets tell when to end it: where their mean, whose values may lie between those of an input, gives what each demands, no
factors prove that nothing does.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import Dense, IntArray, Network, Threshold, weight_bits

_STEPS, _EACH = 1500, 20
_RATE = 0.5
_WHOLE = 1 << 20  # what factors of 1 become

#: Products that the proofs of a layer may take.
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
    operand, step = network.signals[before.inputs[0]], network.signals[before.name].step
    wanted = dense.weight.astype(np.int64)
    up = sign.direction.astype(np.int64)
    side = wanted * up  # side * sum >= demand puts each sum where its sign is the weight
    demand = np.where(wanted > 0, up * sign.threshold, step - up * sign.threshold)
    return _proved(side, demand, before.weight, operand.low, operand.high)


def _proved(
    side: IntArray, demand: IntArray, weight: NDArray[np.signedinteger[Any]], low: IntArray, high: IntArray
) -> NDArray[np.bool_]:
    """Say for which rows no input is proved to give what all demand, shape (neurons,)."""
    proved = np.zeros(len(side), np.bool_)
    rows, real = np.arange(len(side)), weight.astype(np.float32)
    factors = np.ones(side.shape, np.float32)
    total, inputs = np.zeros_like(factors), np.zeros((len(side), real.shape[1]), np.float32)
    products = 0
    for number in range(1, _STEPS + 1):
        signs, asked = side[rows].astype(np.float32), demand[rows].astype(np.float32)
        x = np.where((factors * signs) @ real > 0, high, low).astype(np.float32)
        margin = signs * (x @ real.T) - asked
        total, inputs = total + factors, inputs + x
        factors = factors * np.exp(-_RATE * margin / np.maximum(1, np.abs(margin).max()))
        factors /= factors.mean(axis=1, keepdims=True)
        products += 2 * len(rows) * real.size
        if number % _EACH == 0:
            never = np.zeros(len(rows), np.bool_)
            for tried in (total / number, factors):
                whole = np.rint(tried.astype(np.float64) * _WHOLE)
                never |= _proves(whole, side[rows], demand[rows], weight, low, high)
            proved[rows] = never
            met = (signs * ((inputs / number) @ real.T) > asked).all(axis=1)
            left = ~never & ~met
            rows, factors, total, inputs = rows[left], factors[left], total[left], inputs[left]
            if not len(rows) or products > _AFFORDABLE:
                break
    return proved


def _proves(
    factors: NDArray[np.float64],
    side: IntArray,
    demand: IntArray,
    weight: NDArray[np.signedinteger[Any]],
    low: IntArray,
    high: IntArray,
) -> NDArray[np.bool_]:
    """Say whether what is demanded in all is more than any input gives, in whole numbers, shape (neurons,)."""
    given = ((factors * side) @ weight.astype(np.float64)).astype(np.int64)  # exact: below 2**53
    most = np.maximum(given * low, given * high).sum(axis=1)
    shown: NDArray[np.bool_] = (factors.astype(np.int64) * demand).sum(axis=1) > most
    return shown
