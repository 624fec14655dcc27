"""The ready-made workflow calls what there is, and keeps the report whatever happens."""

import re

import yaml

from xnorflow.flows.cache import PROJECT
from xnorflow.flows.make import TARGETS

STEPS = yaml.safe_load((PROJECT / ".github" / "workflows" / "xnorflow.yml").read_text())["jobs"]["flow"]["steps"]
CI = (PROJECT / ".github" / "workflows" / "ci.yml").read_text()
JOBS = yaml.safe_load(CI)["jobs"]


def test_every_command_is_a_target_with_variables_that_it_takes() -> None:
    calls = [step["run"].split() for step in STEPS if step.get("run", "").startswith("make")]
    assert [call[1] for call in calls] == ["flow", "regress"]
    for _, target, *settings in calls:
        assert {setting.split("=")[0] for setting in settings} <= set(TARGETS[target][1])


def test_the_report_is_kept_of_a_flow_that_fails_too() -> None:
    (kept,) = (step for step in STEPS if step.get("uses", "").startswith("actions/upload-artifact"))
    (flow,) = (step["run"] for step in STEPS if step.get("run", "").startswith("make flow"))
    assert kept["if"] == "always()"
    assert f"OUT={kept['with']['path']}" in flow


def test_the_projects_own_workflow_checks_all_that_a_change_must_hold() -> None:
    commands = [step["run"] for step in JOBS["tests"]["steps"] if "run" in step]
    assert commands == ["bash .ci/run", "make docs"]
    checks = (PROJECT / ".ci" / "run").read_text().splitlines()
    assert {"make lint", "make test"} <= set(checks)


def test_every_version_of_python_that_is_promised_is_tested_and_coverage_is_shown() -> None:
    (usual,) = (
        step["with"]["python-version"] for step in JOBS["tests"]["steps"] if "python-version" in step.get("with", {})
    )
    others = [of["python"] for of in JOBS["quick"]["strategy"]["matrix"]["include"]]
    promised = re.findall(r"Programming Language :: Python :: (3\.\d+)", (PROJECT / "pyproject.toml").read_text())
    assert sorted([usual, *others]) == sorted(promised)
    assert any("GITHUB_STEP_SUMMARY" in step.get("run", "") for step in JOBS["quick"]["steps"])


def test_the_extras_that_it_installs_are_there_and_the_wheel_runs_outside_the_checkout() -> None:
    extras = re.search(r"optional-dependencies\]\n(.*?)\n\n", (PROJECT / "pyproject.toml").read_text(), re.DOTALL)
    installed = {name for names in re.findall(r"flows/setup\.sh ([a-z ]+)", CI) for name in names.split()}
    assert extras and installed and installed <= set(re.findall(r"^([a-z]+) = ", extras[1], re.MULTILINE))
    commands = [step["run"] for step in JOBS["package"]["steps"] if "run" in step]
    assert commands[0].startswith("pip wheel ") and commands[-1].startswith("cd .. && fresh/bin/xnorflow run ")


def test_the_hooks_before_a_commit_are_the_tools_of_the_environment() -> None:
    (repository,) = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    assert [hook["entry"].split()[0] for hook in repository["hooks"]] == [".venv/bin/ruff"] * 2 + [".venv/bin/mypy"]


def test_every_form_for_an_issue_asks_for_what_is_needed() -> None:
    forms = sorted((PROJECT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert forms
    for path in forms:
        form = yaml.safe_load(path.read_text())
        assert form["name"] and form["description"]
        assert any(field.get("validations", {}).get("required") for field in form["body"]), path
