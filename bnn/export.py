"""Weights and thresholds for hardware tools: ``.bin``, ``.mem``, ``.coe`` and one C header.

For every dense or convolution layer ``<name>_weight`` (and ``<name>_mask`` where weights are ternary): one row of bits
per output, the reduction axis flattened row-major (kernel_h, kernel_w, inputs), element i of a row at bit i. Integer
weights are numbers as thresholds are, one a row, those of an output following each other. For every
threshold ``<name>_threshold`` in two's complement of the least width that holds them all (of several per channel, those
of a channel follow each other), and ``<name>_direction`` (1 for ``acc >= threshold``); of a recurrent layer all of
these, and ``<name>_first``, the thresholds of its first step; for an affine ``<name>_scale``
and ``<name>_offset``.

``.bin``
    Rows one after another, each in little-endian bytes, padded with 0 to whole bytes.
``.mem``
    For ``$readmemh``: one row a line, hexadecimal, most significant digit first.
``.coe``
    The same rows as a Xilinx coefficient file, radix 16.
``<network>.h``
    All of them as C arrays of uint64_t words (rows of bits) or int64_t (numbers), with the dimensions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from xnorflow.bnn.network import (
    Add,
    Affine,
    Argmax,
    Conv2d,
    Dense,
    DepthToSpace,
    Flatten,
    Input,
    MaxPool2d,
    MultiThreshold,
    Network,
    Recurrent,
    SumPool2d,
    Threshold,
    Weights,
    refusal,
    weight_bits,
)
from xnorflow.bnn.packing import pack_bits


@dataclass(frozen=True)
class _Rom:
    """Rows of `width` bits under one name: as Python integers, and as the C header shows them."""

    name: str
    width: int
    rows: list[int]
    numbers: Weights | None  # None for rows of bits


def export(network: Network, folder: Path) -> list[Path]:
    """Write all weights and thresholds of `network` into `folder`, which is made if missing.

    A network with an operation that the export does not know is refused before anything is written.

    Returns
    -------
    list of Path
        The files written: three per memory, and the header last.
    """
    memories = list(_memories(network))
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []

    def write(name: str, content: bytes) -> None:
        written.append(folder / name)
        written[-1].write_bytes(content)

    for memory in memories:
        digits, octets = -(-memory.width // 4), -(-memory.width // 8)
        lines = [f"{row:0{digits}x}" for row in memory.rows]
        write(f"{memory.name}.bin", b"".join(row.to_bytes(octets, "little") for row in memory.rows))
        write(f"{memory.name}.mem", ("\n".join(lines) + "\n").encode())
        header = "memory_initialization_radix=16;\nmemory_initialization_vector=\n"
        write(f"{memory.name}.coe", (header + ",\n".join(lines) + ";\n").encode())
    write(f"{network.name}.h", _header(network, memories).encode())
    return written


def _memories(network: Network) -> Iterator[_Rom]:
    for operation in network.operations:
        match operation:
            case Dense() | Conv2d():
                rows = operation.weight.reshape(operation.weight.shape[0], -1)
                if weight_bits(rows) > 2:
                    yield _numbers(f"{operation.name}_weight", rows.ravel())
                    continue
                yield _bits(f"{operation.name}_weight", rows > 0)
                if not rows.all():
                    yield _bits(f"{operation.name}_mask", rows != 0)
            case Threshold() | MultiThreshold():
                yield _numbers(f"{operation.name}_threshold", operation.threshold.ravel())
                yield _Rom(f"{operation.name}_direction", 1, [int(d > 0) for d in operation.direction], None)
            case Recurrent():
                yield _bits(f"{operation.name}_weight", operation.weight > 0)
                if not operation.weight.all():
                    yield _bits(f"{operation.name}_mask", operation.weight != 0)
                yield _numbers(f"{operation.name}_threshold", operation.threshold)
                yield _numbers(f"{operation.name}_first", operation.first)
                yield _Rom(f"{operation.name}_direction", 1, [int(d > 0) for d in operation.direction], None)
            case Affine():
                yield _numbers(f"{operation.name}_scale", operation.scale)
                yield _numbers(f"{operation.name}_offset", operation.offset)
            case Input() | MaxPool2d() | SumPool2d() | Add() | Flatten() | DepthToSpace() | Argmax():
                pass
            case _:
                raise refusal(operation, "the export")


def _bits(name: str, bits: NDArray[Any]) -> _Rom:
    rows = [int.from_bytes(row.astype("<u8").tobytes(), "little") for row in pack_bits(bits)]
    return _Rom(name, bits.shape[1], rows, None)


def _numbers(name: str, values: Weights) -> _Rom:
    width = 1 + max(int(value if value >= 0 else ~value).bit_length() for value in values)
    return _Rom(name, width, [int(value) % (1 << width) for value in values], values)


def _header(network: Network, memories: list[_Rom]) -> str:
    guard = f"XNORFLOW_{network.name.upper()}_H"
    lines = [
        f"/* Weights and thresholds of {network.name}, network {network.digest}. */",
        f"#ifndef {guard}",
        f"#define {guard}",
        "#include <stdint.h>",
    ]
    for memory in memories:
        macro = memory.name.upper()
        lines += ["", f"#define {macro}_ROWS {len(memory.rows)}", f"#define {macro}_BITS {memory.width}"]
        if memory.numbers is not None:
            values = ", ".join(f"INT64_C({value})" for value in memory.numbers)
            lines.append(f"static const int64_t {memory.name}[{len(memory.rows)}] = {{{values}}};")
            continue
        words = -(-memory.width // 64)
        lines.append(f"static const uint64_t {memory.name}[{len(memory.rows)}][{words}] = {{")
        for row in memory.rows:
            split = ", ".join(f"UINT64_C(0x{row >> 64 * w & 2**64 - 1:016x})" for w in range(words))
            lines.append(f"    {{{split}}},")
        lines.append("};")
    return "\n".join([*lines, "", f"#endif /* {guard} */", ""])
