"""Answers given before, where the workspace or the request wants them: looked up before anything is decided."""

from __future__ import annotations

from typing import Any

from gateway.call.cache import AnswerCache
from gateway.call.cache_key import prompt_key
from gateway.call.run import Run
from gateway.call.semantic import SemanticCache
from gateway.prompt import CacheMode


class Recall:
    """The cache as a call sees it.

    Attributes
    ----------
    configuration : digest of the gateway's: what another one answered is not given again.
    """

    def __init__(self, exact: AnswerCache, semantic: SemanticCache, configuration: str) -> None:
        self.exact = exact
        self.semantic = semantic
        self.configuration = configuration

    async def find(self, run: Run) -> dict[str, Any] | None:
        """The answer of an earlier, equal request; the caller's own copy. None: there is none, or none is wanted."""
        mode = wanted(run)
        if mode == "off":
            return None
        workspace = run.workspace
        choice = self._choice(run)
        run.cache_key = key = prompt_key(run.prompt, choice)
        found = await self.exact.get(run.prompt.tenant.workspace, key, keep=workspace.keep)
        if found is not None:
            run.cache = "exact"
            return found
        if mode == "semantic" and run.prompt.kind == "chat":
            found = await self.semantic.find(run.prompt, choice, workspace.semantic_threshold)
            if found is not None:
                run.cache = "semantic"
        return found

    async def keep(self, run: Run, body: dict[str, Any]) -> None:
        """Keep an answer that was asked for with the cache on."""
        if run.cache_key is None or run.cache is not None:
            return
        tenant, keep = run.prompt.tenant, run.workspace.keep
        kept = self.exact.put(tenant.workspace, run.cache_key, body, user=tenant.user, keep=keep)
        if kept and wanted(run) == "semantic" and run.prompt.kind == "chat":
            await self.semantic.put(run.prompt, self._choice(run), run.cache_key)

    def _choice(self, run: Run) -> list[str]:
        """What decides who answers, and what of it is let out and kept: the name asked for, the configuration, and
        what the workspace allows, filters and keeps."""
        workspace = run.workspace
        filters = workspace.filters
        return [
            run.prompt.model,
            self.configuration,
            *workspace.allowed_models,
            f"local={workspace.local_only}",
            *sorted(workspace.regions),
            f"secrets={filters.secrets} personal={filters.personal_data} {filters.mode}",
            workspace.keep,
        ]


def wanted(run: Run) -> CacheMode:
    """What the request says, else what the workspace does."""
    asked = run.prompt.options.cache
    return run.workspace.cache if asked is None else asked
