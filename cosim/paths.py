"""Which tile counts bits on this machine.

``NUMBA_CPU_FEATURES`` forces a lower path: ``-avx512f``, ``-avx2`` or ``-ssse3`` takes away what its name says and all
that builds on it. The results are the same.
"""

from llvmlite import binding  # type: ignore[import-untyped]
from numba.core.registry import cpu_target

from xnorflow.cosim.table_tile import TableTile
from xnorflow.cosim.word_tile import WordTile

_SSSE3 = frozenset({"sse3", "ssse3"})
_AVX2 = _SSSE3 | {"sse4.1", "sse4.2", "avx", "avx2"}
_AVX512 = _AVX2 | {"avx512f"}

AnyTile = WordTile | TableTile

#: From the fastest down; the last one runs everywhere.
PATHS: tuple[AnyTile, ...] = (
    # 16 sums of 8 words: half of the 32 registers.
    WordTile("AVX-512 VPOPCNTDQ", _AVX512 | {"avx512vpopcntdq"}, lanes=8, vectors=4, rows=4, by_bytes=False),
    TableTile("AVX-512 BW", _AVX512 | {"avx512bw"}, lanes=64, vectors=1, rows=4, shuffle="llvm.x86.avx512.pshuf.b.512"),
    # 8 sums of 32 bytes: half of the 16 registers.
    TableTile("AVX2", _AVX2, lanes=32, vectors=2, rows=4, shuffle="llvm.x86.avx2.pshuf.b"),
    TableTile("SSSE3", _SSSE3, lanes=16, vectors=2, rows=4, shuffle="llvm.x86.ssse3.pshuf.b.128"),
    WordTile("NEON", frozenset({"neon"}), lanes=2, vectors=4, rows=4, by_bytes=True),
    WordTile("plain", frozenset(), lanes=2, vectors=4, rows=1, by_bytes=True),
)


def features() -> frozenset[str]:
    """Return LLVM's names of the features that numba compiles for."""
    _, name, flags = cpu_target.target_context.codegen().magic_tuple()
    have = set()
    if name == binding.get_host_cpu_name():
        have = {feature for feature, there in binding.get_host_cpu_features().items() if there}
    for flag in filter(None, flags.split(",")):
        (have.add if flag[0] == "+" else have.discard)(flag[1:])
    return frozenset(have)


PATH = next(path for path in PATHS if path.needs <= features())
