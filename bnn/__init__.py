"""What a binary neural network is, and what its numbers mean.

This docstring is the contract of the whole project; every engine, code generator and test refers to it.

**Bipolar values.** A bipolar value is +1 or -1. Its bit is 1 for +1 and 0 for -1. ``sign(0) = +1``.

**Dot products.** For bipolar ``x`` and ``w`` of length ``n``::

    dot(x, w) = 2 * popcount(xnor(x, w)) - n

With ternary weights a mask bit ``m`` is 1 where the weight is not zero::

    dot(x, w) = 2 * popcount(xnor(x, w) & m) - popcount(m)

Zero padding is a masked position, not a -1.

**Integer weights.** A dense layer or convolution may have integer weights of up to 16 bits (magnitudes up to 32,767):
the first and last layers of networks that are binary in between. Its sums are exact, and their terms' magnitudes add up
to less than 2**53, so that no order of summation overflows or rounds in float64. Such a layer is a sum of ternary ones,
``sum 2**k * sign(w) * bit k of abs(w)`` (:mod:`xnorflow.bnn.planes`), which is how engines of binary layers compute it.

**Packing.** Bits are packed little-endian into uint64 words along the last (channel, or reduction) axis: element ``i``
is bit ``i % 64`` of word ``i // 64``. The unused bits of the last word are 0.

**Layout.** Channels last everywhere behind the front ends: ``(height, width, channels)`` or ``(channels,)``; batches
add a leading axis. A dense weight is ``(outputs, inputs)``, a convolution's ``(outputs, kernel_h, kernel_w, inputs)``.

**Thresholds.** Batch normalisation followed by sign is one integer threshold and one direction per channel, found by
evaluating the framework's own formula over the accumulator's range, so that it holds for *every* integer that the
accumulator can take. A direction of +1 means ``acc >= threshold``, -1 means ``acc <= threshold``. Thresholds are
clamped to the range: "always" and "never" are thresholds at its ends.

**Pooling** before and after the sign differ where the direction is -1; the model's own order is kept. Padded positions
never are a maximum.

**Sequences.** A sequence of T steps is an image (1, T, channels). A :class:`~xnorflow.bnn.network.Recurrent` carries a
binary state along it, ``h[t] = threshold(x[t] + 2**shift * (weight @ h[t - 1]))``, whose operand ``x`` is a layer's
sums for every step (a convolution of 1 x 1). T is fixed; every sequence begins anew, and what the initial state adds is
in the thresholds of its first step. No step depends on a later one: a sequence of fewer steps gives what the Network
gives whose input has as many, and a Network that gives every step gives the results of all shorter sequences besides.

**Integer inputs.** A first layer may take integers (8-bit pixels, signed fixed point); its sums are exact.

**Outputs.** The last layer gives integer accumulators. A trailing affine (batch norm, bias, scale) is fixed point:
``(acc * scale + offset) / 2**fraction``, and argmax breaks ties to the lowest index. An image
of scores has a class for every pixel.
"""
