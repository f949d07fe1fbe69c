"""Requests of batches are read, and their errors told, as those of the API are; what runs them knows no HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.prompt import Kind, Prompt, Tenant
from serving import problems
from serving.access import Caller
from serving.prompts import prompt_of
from store.errors import MeritError
from store.settings import Settings

if TYPE_CHECKING:
    from gateway.account.files import Files
    from gateway.call.batches import Batches
    from gateway.gateway import Gateway


def read(body: dict[str, Any], tenant: Tenant, kind: Kind) -> Prompt:
    """A prompt of a request's body, in a tenant's name; raises as `prompt_of` does."""
    caller = Caller(tenant.key_name, tenant.role, tenant.key_id, tenant.workspace, tenant)
    return prompt_of(body, caller, kind=kind)


def tell(error: Exception) -> tuple[int, dict[str, Any]]:
    """Status and body of the answer that an error gives."""
    if isinstance(error, MeritError):
        return problems.status_of(error), {"error": problems.openai_error(error)}
    message = "Something went wrong that should not have."
    return 500, {"error": {"message": message, "type": "api_error", "param": None, "code": "unexpected"}}


async def open_batches(settings: Settings, gateway: Gateway, *, alone: bool) -> tuple[Files, Batches]:
    """Files, and what works on batches, begun.

    Parameters
    ----------
    alone : no other gateway works on this database.

    Raises
    ------
    ServiceUnavailable : the database does not answer.
    """
    from gateway.account.files import Files
    from gateway.call.batches import Batches, Voice

    parts = gateway.parts
    files = Files(settings, parts.workspaces.get, parts.contents.keyring)
    batches = Batches(settings, gateway, files, Voice(read, tell), alone=alone)
    await batches.start()
    return files, batches
