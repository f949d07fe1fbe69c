"""A line in the audit log for what a caller of the API changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request

from serving.access import Caller
from serving.dependencies import GatewayServices
from store import audit


def note(
    services: GatewayServices,
    request: Request,
    caller: Caller,
    action: str,
    subject: str | None,
    *,
    workspace: str | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Add the line; see `store.audit.write`.

    Parameters
    ----------
    workspace : the one that the change concerns; None: the platform.
    """
    audit.write(
        services.settings,
        caller.name,
        caller.role,
        workspace,
        action,
        subject,
        before,
        after,
        request_id=request.scope.get("request_id"),
    )
