"""A small report that has everything, for all tests of what is made from reports."""

import copy
from typing import Any

import numpy as np
import pytest

from xnorflow.reports.arrays import pack


def engine(**given: Any) -> dict[str, Any]:
    return {
        "title": "an engine", "status": "pass", "vectors": 1000, "mismatches": 0, "seconds": 2.0, "build_seconds": None,
        "reason": None, "project": None, "first_mismatch": None, "waveform": None,
        "layers": {"dense1": {"vectors": 8, "mismatches": 0}, "scores": {"vectors": 1000, "mismatches": 0}},
    } | given  # fmt: skip


VENDOR = {
    "tool": "Vivado 2021.2", "target": "xc7z020clg400-1", "stage": "synthesised", "module": "small", "top": True,
    "provenance": "vendor",
}  # fmt: skip


def layer(
    name: str,
    kind: str,
    inputs: list[int],
    outputs: list[int],
    weight_bits: int = 0,
    accumulator_bits: int | None = None,
    operand: str = "input",
) -> dict[str, Any]:
    return {
        "name": name, "kind": kind, "operands": [operand], "inputs": inputs, "outputs": outputs,
        "weight_bits": weight_bits, "xnor_ops": weight_bits, "accumulator_bits": accumulator_bits,
    }  # fmt: skip


@pytest.fixture(scope="session")
def passing() -> dict[str, Any]:
    """What a test must not change."""
    return {
        "schema_version": 3,
        "requirements": [
            {"what": "lut", "limit": 5280, "found": 1300, "provenance": "placed-and-routed", "source": "nextpnr 0.11",
             "status": "pass", "reason": "at most 5,280 LUTs required, 1,300 found"},
        ],
        "created": "2026-01-01T00:00:00+00:00",
        "model": "small",
        "description": "a <b>small</b> network & more",
        "network_digest": "a" * 64,
        "source": {"kind": "checkpoint", "path": "models/small.safetensors", "digest": "b" * 64},
        "verdict": "pass",
        "inputs": {
            "dataset": "digits", "count": 1000, "digest": "c" * 64, "images": 360, "random": 600, "directed": 40,
            "note": "bundled", "dataset_digest": "d" * 64,
        },
        "coverage": {
            "refusal": None, "search": "number", "found": {
                "engine": "hls4ml_packed", "faults": 90001, "redundant": 1.0, "shown": 89998.0, "share": 0.99998,
                "interval": None,
                "engines": [
                    {"name": "hls4ml_packed", "vectors": 1000, "faults": 90001, "redundant": 1.0, "shown": 89998.0,
                     "share": 0.99998, "interval": None},
                ],
                "layers": [
                    {"name": "dense1", "faults": 90001, "redundant": 1.0, "shown": 89998.0, "share": 0.99998,
                     "interval": None, "engines": {"hls4ml_packed": 0.99998}},
                ],
                "weakest": [{"layer": "dense1", "channel": 7, "missed": 2, "faults": 70}],
            },
        },
        "accuracy": {
            "golden": 0.9583, "golden_count": 360, "golden_dataset": "digits", "confusion": [[170, 10], [5, 175]],
            "precision_recall": {
                "positives": 180, "threshold": 1, "average_precision": 0.9876,
                "points": [[30, 100, 0], [9, 150, 2], [1, 175, 10], [-4, 180, 44], [-20, 180, 180]],
            },
            "recorded": 0.9722, "recorded_count": 10000, "recorded_dataset": "mnist",
        },
        "argmax": {"of": "class", "claim": "proved", "vectors": 0, "ambiguous": 0},
        "deviation": None,
        "conversion": {"notes": ["the softmax <x> is left out"], "ambiguous": {"threshold1": 7}},
        "engines": {
            "golden": engine(reason="the reference"),
            "pytorch": engine(status="skipped", vectors=0, seconds=None, reason="no <module>", layers={}),
            "hls4ml_packed": engine(build_seconds=4.2, project="build/small/hls4ml_packed"),
        },
        "input": {"name": "input", "shape": [8, 8, 1], "kind": "bipolar", "bits": 1},
        "layers": [
            layer("dense1", "Dense", [64], [32], 2048, 8),
            layer("threshold1", "Threshold", [32], [32], operand="dense1"),
            layer("scores", "Dense", [32], [2], 64, 7, operand="threshold1"),
        ],
        "samples": [
            {"vector": 0, "class": 1, "label": 1, "layers": [
                {"name": "input", "values": pack(np.sign(np.arange(64) % 5 - 1.5).astype(int).reshape(8, 8, 1))},
                {"name": "threshold1", "values": pack(np.sign(np.arange(32) % 3 - 0.5).astype(int))},
                {"name": "scores", "values": pack(np.array([-12, 8]))},
            ]},
            {"vector": 3, "class": 0, "label": 1, "layers": [
                {"name": "input", "values": pack(np.ones((8, 8, 1), int))},
                {"name": "threshold1", "values": pack(-np.ones(32, int))},
                {"name": "scores", "values": pack(np.array([20, -2]))},
            ]},
        ],
        "memory": {"binary_bits": 2304, "float32_bits": 67584, "ratio": 29.3, "formula": "weights"},
        "rtl": {
            "goal": "at most 10,000 LUTs", "clock_ns": 10.0, "latency": 12345, "interval": 678,
            "units": [
                {"name": "dense1", "layer": "dense1", "interval": 678, "luts": 432,
                 "frames": [[0, 678], [600, 1356], [1278, 2034]]},
                {"name": "scores", "layer": "scores", "interval": 64, "luts": 40,
                 "frames": [[678, 742], [1356, 1420], [2034, 2100]]},
            ], "luts": 4321,
            "pruned": {"dense1": {"neurons": 3, "inputs": 5}},
            "layers": [
                {"name": "dense1", "neurons": 32, "inputs": 64, "vectors": 1, "architecture": "3 PE x 7 SIMD",
                 "cycles": 678, "luts": 432, "memory_bits": 16000}
            ],
        },
        "hls": {
            "part": "xc7z020clg400-1", "io_type": "io_parallel", "clock_ns": 5.0, "goal": "50,000 vectors/s",
            "latency": 2345, "interval": 2222, "luts": 987, "memory_bits": 4096,
            "layers": [
                {"name": "dense1", "config": "config2", "folding": "1 PE x 8 SIMD", "cycles": 2222, "luts": 901,
                 "memory_bits": 4096},
                {"name": "affine", "config": "config3", "folding": None, "cycles": 2, "luts": 86, "memory_bits": 0},
            ],
            "notes": ["at best <40,000> frames/s"], "formula": "loops one behind another",
            "constants": [{"name": "lane", "value": 1.5, "unit": "LUTs", "source": "a fit"}],
            "provenance": "estimated",
        },
        "latency": [
            {"source": "rtl_cxxrtl", "frames": 1000, "latency": {"minimum": 12345, "median": 12346.5, "maximum": 12400},
             "interval": {"minimum": 600, "median": 678, "maximum": 679}, "clock_ns": 10.0, "provenance": "simulated"}
        ],
        "synthesis": [
            {"target": "ecp5", "title": "Lattice ECP5", "lut_inputs": 4, "bram_unit": "EBR of 18 Kb",
             "bram_kib": 18,
             "status": "pass", "reason": None, "provenance": "synthesised", "tool": "yosys 0.23",
             "total": {"lut": 1194, "ff": 90, "carry": 3, "lutram": 0, "bram": 7, "dsp": 0},
             "layers": [{"name": "dense1", "lut": 1194, "ff": 90, "carry": 3, "lutram": 0, "bram": 7, "dsp": 0}],
             "combined_luts": 1012,
             "placement": {
                 "status": "pass", "reason": None, "provenance": "placed-and-routed", "tool": "nextpnr 0.11",
                 "device": "ecp5-25k",
                 "usage": [{"name": "LUTs", "used": 1300, "available": 24288}], "fmax_mhz": 87.654,
                 "latency_ns": 140839.7, "images_per_second": 129283.2,
                 "critical_path": [{"layer": "dense1", "signal": "popcount", "logic_ns": 1.5, "routing_ns": 2.5}],
                 "bitstream": "bitstream_ecp5.bit", "pins": "pins.txt", "no_bitstream": None},
             "clock": {"met": False, "period_ns": 11.41, "wanted_ns": 10.0, "path": "dense1: popcount",
                       "source": "nextpnr 0.11 on ecp5-25k", "provenance": "placed-and-routed"}},
            {"target": "ice40", "title": "Lattice iCE40", "lut_inputs": 4, "bram_unit": "EBR of 4 Kb",
             "bram_kib": 4,
             "status": "skipped", "reason": "no Yosys here", "provenance": "synthesised",
             "tool": None, "total": None, "layers": [], "combined_luts": None, "placement": None, "clock": None},
        ],
        "energy": {
            "source": "waveform of rtl_icarus", "frames": 8, "images": 7, "picojoules": 2460.0, "low": 820.0,
            "high": 7380.0,
            "terms": [{"name": "wire_toggles", "count": 60000.5, "picojoules_each": 0.041, "picojoules": 2460.0,
                       "source": "a paper"}],
            "formula": "count x picojoules_each", "uncertainty": 3.0, "provenance": "estimated",
            "targets": [
                {"target": "ecp5", "device": "LFE5U-25F", "static_mw": 124.7, "dynamic_pj": 2460.0,
                 "images_per_second": 1000.0, "power_mw": 124.70246, "energy_nj": 124702.46,
                 "sources": ["a data sheet"], "formula": "static + dynamic", "provenance": "estimated"},
                {"target": "ultrascale+", "device": None, "static_mw": None, "dynamic_pj": 900.0,
                 "images_per_second": 1000.0, "power_mw": None, "energy_nj": None,
                 "sources": ["a data sheet"], "formula": "static + dynamic", "provenance": "estimated"},
            ],
        },
        "asic": [
            {"library": "cells_tt", "folder": "asic_cells", "clock_ns": 20.0, "status": "pass", "reason": None,
             "provenance": "synthesised", "tool": "yosys 0.23", "gate": "NAND2",
             "total": {"cells": 900, "flip_flops": 90, "area_um2": 7654.3, "gates": 2040.0},
             "layers": [{"name": "dense1", "cells": 900, "flip_flops": 90, "area_um2": 7654.3, "gates": 2040.0}],
             "timing": {"status": "pass", "reason": None, "provenance": "synthesised", "tool": "opensta 2.0",
                        "slack_ns": 4.5, "fmax_mhz": 64.5, "path": ["u/_1_ (DFF)", "u/_2_ (NAND2)"]},
             "power": {"status": "pass", "reason": None, "provenance": "synthesised", "tool": "opensta 2.0",
                       "frames": 4, "nets": 812, "total_w": 0.00321,
                       "groups": {"internal": 0.003, "switching": 0.0002, "leakage": 0.00001},
                       "layers": [{"name": "dense1", "watts": 0.00321}]}},
            {"library": "other", "folder": None, "clock_ns": 20.0, "status": "unfit", "reason": "needs a macro",
             "provenance": "synthesised", "tool": None, "gate": None, "total": None, "layers": [], "timing": None,
             "power": None},
        ],
        "vendor": [
            {"job": "rtl", "folder": "build/small/vendor_rtl", "status": "fail",
             "steps": [
                 {"name": "synth", "status": "pass", "reason": None, "tool": "vivado 2021.2", "seconds": 61.5,
                  "log": "vendor/logs/synth.log"},
                 {"name": "impl", "status": "fail", "reason": "took longer than <2 s>", "tool": "vivado 2021.2",
                  "seconds": None, "log": "vendor/logs/impl.log"},
             ],
             "problems": ["vendor/reports/impl_power.rpt:1: expected <a header>"],
             "figures": {
                 "simulation": [], "latency": [], "paths": [],
                 "hierarchy": [
                     {**VENDOR, "source": "vendor/reports/synth_hierarchy.rpt", "instance": "U_dense1", "of": "dense1",
                      "layer": "dense1", "estimated_luts": 432, "lut": 444, "ff": 100, "bram": 1.5, "uram": None,
                      "dsp": 0}
                 ],
                 "power": [
                     {**VENDOR, "source": "vendor/reports/synth_power.rpt", "total_w": 0.242, "dynamic_w": 0.137,
                      "static_w": 0.105, "confidence": "Medium", "activity": None, "matched_percent": None}
                 ],
                 "resources": [
                     {**VENDOR, "source": "vendor/reports/synth_utilization.rpt", "lut": 6543, "ff": 210, "bram": 3.5,
                      "uram": 0, "dsp": None, "carry": 12}
                 ],
                 "timing": [
                     {**VENDOR, "source": "vendor/reports/synth_timing.rpt", "clock_ns": 4.0, "fmax_mhz": 321.04,
                      "met": True, "wns_ns": 0.5, "whs_ns": None, "wpws_ns": None}
                 ],
             }}
        ],
        "predicted": [
            {"what": "latency, cycles", "predicted": 700, "measured": 700.0, "by": "rtl_cxxrtl",
             "provenance": "simulated"},
            {"what": "LUTs of dense1", "predicted": 432, "measured": 480, "by": "Lattice ECP5",
             "provenance": "synthesised"},
        ],
        "baseline": {"file": "reports/baselines/small.json", "target": "ecp5", "rows": [
            {"what": "rtl.latency", "before": 12000, "now": 12345}, {"what": "rtl.interval", "before": 678, "now": 678},
            {"what": "rtl.layers.dense1", "before": "1 PE x 7 SIMD", "now": "3 PE x 7 SIMD"},
        ]},
        "steps": [{"name": "load", "seconds": 0.01, "summary": "1,000 vectors"}],
        "tools": {"python": "3.11"},
    }  # fmt: skip


@pytest.fixture(scope="session")
def failing(passing: Any) -> Any:
    """The same flow with an engine that is wrong."""
    report = copy.deepcopy(passing)
    report["verdict"] = "fail"
    report["engines"]["hls4ml_packed"] |= {
        "status": "fail", "mismatches": 9, "reason": "vector 17 differs",
        "first_mismatch": {
            "vector": 17, "layer": "dense1", "channel": 3, "index": [2, 5, 3], "expected": -4, "got": -2,
            "how": "every layer", "replay": "mismatch_hls4ml_packed.npz",
            "window": {
                "layer": "dense1", "index": [3], "inputs": pack(np.array([1, -1, -1, 1] * 16)),
                "weights": pack(np.array([1, 1, -1, 0] * 16)), "terms": [{"factor": 1, "plus": 22, "minus": 26}],
                "accumulator": -4, "got": -2, "then": ["threshold1: -4 >= -3 does not hold, which makes -1"],
            },
        },
    }  # fmt: skip
    return report


@pytest.fixture
def report(passing: Any) -> Any:
    return copy.deepcopy(passing)


@pytest.fixture
def failed(failing: Any) -> dict[str, Any]:
    return copy.deepcopy(failing)
