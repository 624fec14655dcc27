"""From an RTL project to gates: resources, place and route, and what a clock period costs.

The way through the package: :mod:`xnorflow.hls.synthesis.targets` says what is synthesised for and what its cells count
as; :mod:`xnorflow.hls.synthesis.yosys` synthesises every unit of a project apart; :mod:`xnorflow.hls.synthesis.rtlil`
reads the netlists, of which :mod:`xnorflow.hls.synthesis.static_timing` estimates the clock and
:mod:`xnorflow.hls.synthesis.sharing` which look-up tables share one; :mod:`xnorflow.hls.synthesis.nextpnr` places
and routes the whole and reads what came of it; :mod:`xnorflow.hls.synthesis.timing` turns cycles and a clock frequency
into nanoseconds and images per second. :mod:`xnorflow.hls.synthesis.tools` finds the programs and runs them.
Standard cells go the same way: :mod:`xnorflow.hls.synthesis.liberty` reads a library,
:mod:`xnorflow.hls.synthesis.asic` maps to it, :mod:`xnorflow.hls.synthesis.opensta` tells timing and power.

**Sum of modules.** A unit's netlist is made from its own module alone and used as it is: by the count of resources, by
place and route and by the simulation of the netlist. So the total is exactly the sum of the units, changing one layer
costs one layer, and logic that would be saved across the borders of layers is not: they are separated by registers.
"""
