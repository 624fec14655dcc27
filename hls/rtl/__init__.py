"""From a Network to plain synthesizable Verilog: a chain of layers behind AXI4-Stream ports.

The way through the package: :mod:`xnorflow.hls.rtl.config` says what the user decides; :mod:`xnorflow.hls.rtl.lowering`
turns a Network into a chain of :mod:`xnorflow.hls.rtl.units`; :mod:`xnorflow.hls.rtl.buffering` puts vectors into
memory; :mod:`xnorflow.hls.rtl.verilog` writes one module per unit; :mod:`xnorflow.hls.rtl.project` writes the whole
folder and knows how frames are packed; :mod:`xnorflow.hls.rtl.cycles` says when everything happens.

**Streams.** Units are joined by streams of whole vectors (a dense vector, or all channels of one pixel, pixels row by
row) with ``valid`` and ``ready``: a vector moves at the rising edge of the clock where both are 1. Channel ``c`` is at
bits ``[c * bits +: bits]``; a bipolar value is one bit, 1 for +1.

**Standing still.** Every unit has one output register and one enable, ``!out_valid || out_ready``: while a result
waits, the whole unit stalls. A unit's own clock is thus the enabled cycles, in which everything happens at fixed
distances. That is what makes the cycle model exact. FIFOs, and memories that a unit's words come into, take in what
comes meanwhile.
"""
