"""What a Prefect server does on its own: crash runs whose worker is gone, train a model that needs it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flows.run import prefect_here

if TYPE_CHECKING:
    from prefect.events.schemas.automations import AutomationCore

ZOMBIES = "Crash runs whose worker is gone"
TRAINING = "Train {family} when its model drifts or does worse"


def ensure_automations(environment: Mapping[str, str]) -> None:
    """Create the automations that are missing on the server and update those that are there.

    Parameters
    ----------
    environment : holds `PREFECT_API_URL`.
    """
    with prefect_here(environment, url=environment["PREFECT_API_URL"]):
        from prefect.client.orchestration import get_client

        with get_client(sync_client=True) as client:
            wanted = [zombies()]
            for deployment in client.read_deployments():
                family = deployment.name.removeprefix("train-")
                if family != deployment.name:
                    schema = deployment.parameter_openapi_schema or {}
                    wanted.append(training(family, deployment.id, list(schema.get("properties", {}))))
            for automation in wanted:
                known = client.read_automations_by_name(automation.name)
                if known:
                    client.update_automation(known[0].id, automation)
                else:
                    client.create_automation(automation)


def zombies() -> AutomationCore:
    """Mark a run as crashed when it has not been heard of for three heartbeats.

    A run whose worker was killed would otherwise stay "Running" for ever, hold its deployment's only slot, and could
    not be retried. `PREFECT_FLOWS_HEARTBEAT_FREQUENCY` sets how often a run is heard of.
    """
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification
    from prefect.settings import get_current_settings

    beat = get_current_settings().flows.heartbeat_frequency or 30
    ended = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")}
    return AutomationCore(
        name=ZOMBIES,
        description=f"No heartbeat for {3 * beat} seconds: the process is gone. Retry the run to go on.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *ended},
            match=ResourceSpecification(root={"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=3 * beat),
        ),
        actions=[
            ChangeFlowRunState(
                name="Crashed", state=StateType.CRASHED, message="Not heard of any more: its worker is gone."
            )
        ],
    )


def training(family: str, deployment: Any, parameters: list[str]) -> AutomationCore:
    """Run the family's training deployment when the flow `monitor` says that one of its models needs it.

    The event carries the parameters that the champion was trained with; the gate decides what comes of the training.

    Parameters
    ----------
    deployment : its id.
    parameters : names of the parameters that the deployment takes.
    """
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    def of_event(name: str) -> dict[str, Any]:
        template = f"{{{{ event.payload.parameters['{name}'] | tojson }}}}"
        return {"__prefect_kind": "json", "value": {"__prefect_kind": "jinja", "template": template}}

    return AutomationCore(
        name=TRAINING.format(family=family),
        description=f"The flow `monitor` found drift or worse results of a {family} model: train its successor.",
        trigger=EventTrigger(
            expect={"merit.model.drifted", "merit.model.worse"},
            match=ResourceSpecification(root={"prefect.resource.id": ["merit.model.*"], "merit.family": [family]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            RunDeployment(
                source="selected", deployment_id=deployment, parameters={name: of_event(name) for name in parameters}
            )
        ],
    )
