"""What a hardware generator says when a network is beyond it."""

from xnorflow.bnn.network import Affine, Argmax, MaxPool2d, Network


class Unsupported(Exception):
    """The chosen style cannot express this network; the message names the layer, the reason and the way out."""


def check_images(network: Network, padded: bool) -> None:
    """Refuse what no generator has: scores and classes of every pixel, and max pools with padding.

    Parameters
    ----------
    network : Network
    padded : bool
        Whether padded max pools are supported.

    Raises
    ------
    Unsupported
    """
    for operation in network.operations:
        operands = [network.signals[source] for source in operation.inputs]
        if isinstance(operation, Affine | Argmax) and len(operands[0].shape) > 1:
            raise Unsupported(
                f"layer {operation.name}: scores of every pixel have no hardware; end the network before its scales "
                "and its argmax"
            )
        if isinstance(operation, MaxPool2d) and any(operation.padding) and not padded:
            raise Unsupported(
                f"layer {operation.name}: a padded max pool has no layer in stock hls4ml; pool without padding, or use "
                "packed"
            )
