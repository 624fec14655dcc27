"""The core that all front ends share: what a network is made of, however its file says it.

A front end is a reader of its format. It walks the operators of a model in order, keeps a
:class:`~xnorflow.bnn.frontends.core.value.Value` for each tensor that depends on the input, and calls one method of an
:class:`~xnorflow.bnn.frontends.core.assembler.Assembler` per operator. Values are immutable, so a tensor may be used
any number of times. Before each call the reader says where it is::

    core = Assembler("model 'net'")
    core.at("model 'net', node 'conv1' (Conv)", "conv1_out")  # for people; the reader's own key of the result
    value = core.start(Input(...), positions, scale)          # once
    value = core.convolution(value, kernel, Geometry(...), bias)
    value = core.step([value], compute)                       # batch norm, relu, clip, quantiser, sign: all alike
    value = core.max_pool(value, Window((2, 2), (2, 2)))
    value = core.view(value, positions)                       # reshape, transpose, slice, channel shuffle
    network = core.finish(value, chosen=False)

What an operator is for is told by what it does. Element-wise operators are never judged when they are met: a
:class:`~xnorflow.bnn.frontends.core.value.Elementwise` holds how the framework itself computes one, on arrays (n,
channels).
When integers are needed (:meth:`Assembler.need`: by a layer of weights, an addition, an average, the end), the steps
since the last integers are evaluated on every value that these can take, see
:mod:`xnorflow.bnn.frontends.core.settling`:

- where they are an affine, ``scale * n + shift`` per channel, they join the encoding, with the largest deviation that
  was met as its error (a rounding; none where all is exact);
- where they give 2 to 256 evenly spaced values they are a threshold or several;
- else the network has real numbers there, and is refused by the name of the first step.

What a reader does itself: decide which tensors are constants, turn operators into these calls, and constants into one
number per channel (:meth:`Assembler.by_channel`, given constants that broadcast to the tensor's shape). It never sees
thresholds, encodings, pools that wait, or the order of channels.

Modules: :mod:`~xnorflow.bnn.frontends.core.value` (the immutable values), ``layout`` (positions: which tensor element
is which integer), ``levels`` (recognising activations and affines in numbers), ``settling`` (folding steps and the
pools among them), ``layers`` (products, sums, averages), ``assembler`` (all of it, and the end of a model),
``weights`` (kernels as integers times a scale), ``sums`` (what a framework's float32 sums are, and how far rounding may
take them), ``building`` (operations in order), ``check`` (what of a model is taken and what is refused).
"""
