"""What a hardware generator says when a network is beyond it."""


class Unsupported(Exception):
    """The chosen style cannot express this network; the message names the layer, the reason and the way out."""
