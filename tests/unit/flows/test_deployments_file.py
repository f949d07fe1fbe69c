"""`prefect.yaml` against the flows it deploys."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.environment import POOL, PROJECT
from flows.run import FLOWS

TEXT = (PROJECT / "prefect.yaml").read_text(encoding="utf-8")
DEPLOYMENTS = {one["name"]: one for one in yaml.safe_load(TEXT)["deployments"]}


def test_every_flow_has_a_deployment_of_its_name_and_a_schedule() -> None:
    assert set(DEPLOYMENTS) == set(FLOWS)
    for name, deployment in DEPLOYMENTS.items():
        assert deployment["entrypoint"] == ".".join(FLOWS[name])
        assert deployment["schedules"], name
        for schedule in deployment["schedules"]:
            assert len(schedule["cron"].split()) == 5
            assert "/" in schedule["timezone"]
        assert deployment["work_pool"]["name"] == POOL
        assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


def test_no_path_of_a_machine_is_in_it() -> None:
    assert str(Path.home()) not in TEXT
    assert "pull:" not in TEXT


@pytest.mark.parametrize("name", sorted(FLOWS))
def test_the_form_in_the_browser_explains_every_parameter(name: str) -> None:
    module, function = FLOWS[name]
    flow: Any = getattr(import_module(module), function)
    assert flow.name == name
    assert flow.description
    properties = flow.parameters.properties
    for parameter, schema in properties.items():
        assert schema.get("description"), f"{name}: {parameter} is not explained"
    given = set(DEPLOYMENTS[name]["parameters"])
    for schedule in DEPLOYMENTS[name]["schedules"]:
        given |= set(schedule.get("parameters", {}))
    assert given <= set(properties)
    assert set(flow.parameters.required) <= given


def test_parameters_of_the_file_fit_the_flow() -> None:
    for name, deployment in DEPLOYMENTS.items():
        module, function = FLOWS[name]
        flow: Any = getattr(import_module(module), function)
        for schedule in deployment["schedules"]:
            flow.validate_parameters({**_defaults(flow), **deployment["parameters"], **schedule.get("parameters", {})})


def _defaults(flow: Any) -> dict[str, Any]:
    return {key: schema["default"] for key, schema in flow.parameters.properties.items() if "default" in schema}
