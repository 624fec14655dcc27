"""From a Network to hardware: hls4ml projects that vendor tools synthesise (:mod:`.project`), in two styles.

**packed** (:mod:`.packed`): own layers, added to hls4ml through its extension API. Bipolar values travel as words of
up to 64 channels; a neuron is XOR, popcount and one integer comparison.

**stock** (:mod:`.stock`): hls4ml's own layers with every type, threshold and padding set so that nothing is rounded,
wrapped or inverted.

Both compute every integer of the Network exactly. The class (:class:`xnorflow.bnn.network.Argmax`) is left to the host:
the hardware's result is the integer scores it is taken from.
"""
