"""Whose calls, budgets and words a caller may see: its own, those of its workspace, or everybody's."""

from __future__ import annotations

from dataclasses import dataclass

from serving.access import Caller
from store.errors import AccessDenied


@dataclass(frozen=True)
class Scope:
    """What a caller may see of the gateway's rows.

    Attributes
    ----------
    workspace : the only one; None: all.
    key_id : the key whose calls alone may be seen; None: everybody's of the workspace.
    """

    workspace: str | None
    key_id: str | None = None

    def filters(self, **more: str | None) -> dict[str, str]:
        """Filters of a query, the key among them; those that are None are left out.

        Raises
        ------
        AccessDenied : another key is asked for than the one that may be seen.
        """
        given = {name: value for name, value in more.items() if value is not None}
        if self.key_id is None:
            return given
        if given.get("key", self.key_id) != self.key_id:
            raise AccessDenied(
                "A key of the role application sees its own calls alone.",
                remedy="Leave `key` out, or use a key of the role analyst.",
                field="key",
                value=given["key"],
            )
        return {**given, "key": self.key_id}


def scope_of(caller: Caller, workspace: str | None = None) -> Scope:
    """What a caller may see, of one workspace where it asks for one.

    A key of the role application sees its own calls; a key that is bound to a workspace, that workspace.

    Raises
    ------
    AccessDenied : it asks for a workspace that is not its own.
    """
    if caller.role == "application":
        return Scope(own_workspace(caller, workspace), caller.key_id)
    if caller.workspace is not None:
        return Scope(own_workspace(caller, workspace))
    return Scope(workspace)


def own_workspace(caller: Caller, workspace: str | None = None) -> str:
    """The one workspace that a request is about: the caller's own where it names none.

    Raises
    ------
    AccessDenied : it is not the caller's. Whether there is one of that name is not told.
    """
    own = caller.tenant.workspace
    if workspace is None or workspace == own:
        return own
    if caller.role == "application" or not caller.sees(workspace):
        raise AccessDenied(
            f"The key {caller.name!r} is of the workspace {own!r}, not of {workspace[:64]!r}.",
            remedy="Leave the workspace out, or use a key of that workspace or of the platform.",
            field="workspace",
            value=workspace[:64],
        )
    return workspace
