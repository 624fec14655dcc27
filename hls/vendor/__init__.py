"""Synthesis with the vendor's tools: Vivado HLS, Vitis HLS and Vivado, versions 2019.2 to 2025.x.

:mod:`xnorflow.hls.vendor.scripts` writes the steps into a folder, as Tcl for the tools and as a shell script that runs
them on any machine. :mod:`xnorflow.hls.vendor.tools` finds the tools of this machine and :mod:`xnorflow.hls.vendor.run`
runs the steps with them. :mod:`xnorflow.hls.vendor.results` reads all reports of a folder, wherever the tools have run;
the formats are known to :mod:`xnorflow.hls.vendor.hls_reports` and :mod:`xnorflow.hls.vendor.vivado_reports`.
"""
