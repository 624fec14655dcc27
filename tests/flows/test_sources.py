"""A step's key follows the code that its function can reach, and nothing that it has not declared."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnorflow.flows import closure, graph
from xnorflow.flows.cache import PROJECT, Entry
from xnorflow.flows.engines import ENGINES
from xnorflow.flows.facts import FOLD, LOAD, NoFacts
from xnorflow.flows.graph import Asked, Flow, Name, Step, Undeclared, View
from xnorflow.flows.stages import steps

STEPS: dict[str, Step] = {step.name: step for step in steps(ENGINES)}
REACHED = {
    name: {path.relative_to(PROJECT).as_posix() for path in closure.reach(step.modules)} for name, step in STEPS.items()
}
CODE = sorted(
    path.relative_to(PROJECT).as_posix()
    for folder in closure.FOLDERS
    for path in (PROJECT / folder).rglob("*")
    if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".safetensors", ".h5")
)


@pytest.mark.parametrize(
    ("step", "reached", "not_reached"),
    [
        ("load", {"models/data.py", "bnn/frontends/core/value.py", "models/labelled.py"}, {"hls/rtl/project.py"}),
        ("fold", {"bnn/canonical.py", "bnn/frontends/torch.py", "reports/measures.py"}, {"cosim/golden.py"}),
        ("rtl", {"hls/rtl/folding.py", "hls/rtl/templates/top.v.j2", "flows/options.py"}, {"bnn/frontends/torch.py"}),
        ("golden", {"cosim/packed.py", "bnn/network.py"}, {"hls/rtl/project.py", "cosim/csim.py", "flows/document.py"}),
        ("project hls4ml_packed", {"hls/nnet_utils/nnet_packed.h", "hls/templates/dut.h.j2"}, {"cosim/rtl_icarus.py"}),
        ("cosim rtl_cxxrtl", {"cosim/rtl_driver.cc", "cosim/rtl_bits.h"}, {"cosim/rtl_icarus.py", "cosim/golden.py"}),
        ("cosim rtl_icarus", {"cosim/rtl_bench.py"}, {"cosim/rtl_driver.cc", "hls/synthesis/yosys.py"}),
        ("synthesis", {"hls/synthesis/pins.v.j2", "hls/synthesis/nextpnr.py"}, {"cosim/rtl_cxxrtl.py"}),
        ("vendor rtl", {"hls/vendor/templates/vivado.tcl.j2"}, {"hls/synthesis/yosys.py"}),
        ("compare", {"flows/mismatch.py", "cosim/compare.py", "cosim/pytorch.py"}, {"reports/render.py"}),
        ("report", {"reports/templates/report.css", "reports/report.schema.json", "flows/document.py"}, set()),
    ],
)
def test_a_step_reaches_what_its_function_imports(step: str, reached: set[str], not_reached: set[str]) -> None:
    assert reached <= REACHED[step]
    assert not not_reached & REACHED[step]


def test_files_that_no_flow_imports_are_in_no_key() -> None:
    for path in (
        "bnn/export.py",
        "flows/cli.py",
        "flows/regress.py",
        "models/train.py",
        "flows/run.py",
        "flows/setup.sh",
        "flows/facts.py",  # these say what is kept, and what does not fit them is made again
        "reports/records.py",
    ):
        assert path in CODE and not any(path in reached for reached in REACHED.values()), path


def test_every_file_that_is_no_python_is_named_by_a_module() -> None:
    named = {
        path.relative_to(PROJECT).as_posix()
        for code in CODE
        if code.endswith(".py")
        for path in closure._named(PROJECT / code)
    }
    apart = ("models/checkpoints/", "reports/baselines/", "flows/configs/", "flows/setup.sh")
    assert [
        code for code in CODE if not code.endswith(".py") and not code.startswith(apart) and code not in named
    ] == []


def flow_of(**changes: Any) -> Any:
    """A flow all of whose steps have a result; the options are None, but for `changes`."""
    names = {name for step in STEPS.values() for name in (*step.options, *step.limits)}
    flow = Flow({name: Asked(changes.get(name), partial(changes.get, name)) for name in names}, Path("none"))
    flow.results = {name: Entry(Path("none"), name, {}, content=name) for name in STEPS}
    return flow


def keys(flow: Any) -> Any:
    return {name: step.key(View(flow, step)) for name, step in STEPS.items()}


@pytest.fixture(scope="module")
def bare() -> Iterator[None]:
    """The steps without what they look at outside, which takes real results."""
    with pytest.MonkeyPatch.context() as patch:
        for name, step in STEPS.items():
            patch.setitem(STEPS, name, Step(**{**vars(step), "outside": None}))
        yield


@given(edited=st.sampled_from(CODE))
@settings(max_examples=60, deadline=None)
def test_editing_a_file_redoes_exactly_the_steps_that_reach_it(bare: Any, edited: Any) -> None:
    flow = flow_of()
    before = keys(flow)
    with pytest.MonkeyPatch.context() as patch:
        real = closure._digest_of
        patch.setattr(closure, "_digest_of", lambda path: "edited" if path == PROJECT / edited else real(path))
        after = keys(flow)
    assert {name for name in STEPS if after[name] != before[name]} == {n for n in STEPS if edited in REACHED[n]}


def test_another_option_redoes_exactly_the_steps_that_read_it(bare: Any) -> None:
    before = keys(flow_of())
    for option in ("target_fps", "targets", "waves", "vectors", "vendor_limit_s"):
        after = keys(flow_of(**{option: "another"}))
        assert {n for n in STEPS if after[n] != before[n]} == {n for n in STEPS if option in STEPS[n].options}, option


def test_another_result_redoes_exactly_the_steps_that_take_it(bare: Any) -> None:
    flow = flow_of()
    before = keys(flow)
    for name in STEPS:
        flow.results[name] = Entry(Path("none"), name, {}, content="another")
        after = keys(flow)
        flow.results[name] = Entry(Path("none"), name, {}, content=name)
        assert {n for n in STEPS if after[n] != before[n]} == {
            n for n in STEPS if name in (*STEPS[n].takes, *STEPS[n].may_take)
        }, name


def test_what_is_not_declared_cannot_be_seen() -> None:
    flow = flow_of()
    view = View(flow, Step(Name("a", NoFacts), "a", print, takes=("load",), options=("targets",)))
    assert view[LOAD].content == "load" and view.options.targets is None
    with pytest.raises(Undeclared, match="step a reads option backend"):
        view.options.backend  # noqa: B018
    with pytest.raises(Undeclared, match="step a takes the result of fold"):
        view[FOLD]


def test_the_order_is_the_graphs() -> None:
    make = partial(print)
    late, free, early = (Name(name, NoFacts) for name in ("late", "free", "early"))
    found = [Step(late, "x", make, may_take=("early",)), Step(free, "x", make), Step(early, "x", make)]
    assert [step.name for step in graph.ordered(found)] == ["free", "early", "late"]
    for step in STEPS.values():
        names = [*map(str, STEPS)]
        assert all(
            names.index(before) < names.index(step.name) for before in graph.arrows(list(STEPS.values()))[step.name]
        )


def test_an_import_for_types_alone_reaches_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from xnorflow.bnn import io\nelse:\n    import xnorflow.bnn.files\n"
        "def f():\n    from xnorflow.hls.rtl import config\n"
    )
    found = {path.relative_to(PROJECT).as_posix() for path in closure.imported(tmp_path / "a.py")}
    assert found == {"bnn/__init__.py", "bnn/files.py", "hls/__init__.py", "hls/rtl/__init__.py", "hls/rtl/config.py"}
    assert PROJECT / "bnn" / "io.py" in closure.imported(tmp_path / "a.py", types=True)
