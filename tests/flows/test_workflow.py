"""The ready-made workflow calls what there is, and keeps the report whatever happens."""

import yaml

from xnorflow.flows.cache import PROJECT
from xnorflow.flows.make import TARGETS

STEPS = yaml.safe_load((PROJECT / ".github" / "workflows" / "xnorflow.yml").read_text())["jobs"]["flow"]["steps"]


def test_every_command_is_a_target_with_variables_that_it_takes():
    calls = [step["run"].split() for step in STEPS if step.get("run", "").startswith("make")]
    assert [call[1] for call in calls] == ["flow", "regress"]
    for _, target, *settings in calls:
        assert {setting.split("=")[0] for setting in settings} <= set(TARGETS[target][1])


def test_the_report_is_kept_of_a_flow_that_fails_too():
    (kept,) = (step for step in STEPS if step.get("uses", "").startswith("actions/upload-artifact"))
    (flow,) = (step["run"] for step in STEPS if step.get("run", "").startswith("make flow"))
    assert kept["if"] == "always()"
    assert f"OUT={kept['with']['path']}" in flow
