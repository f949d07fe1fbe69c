"""The LLM gateway within the API: opened and closed with it; where it cannot run, predictions are answered still."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.configuration import check, read, source_of
from gateway.configuration.problems import Problem
from serving.event_feed import Feed
from serving.exit_signals import on_exit
from store.errors import ServiceUnavailable, SettingsError
from store.settings import Settings

if TYPE_CHECKING:
    from gateway.account.files import Files
    from gateway.call.batches import Batches
    from gateway.gateway import Gateway
    from gateway.improve.benchmarks.running import Benchmarks
    from gateway.improve.finetuning.working import Finetunes
    from gateway.opening import OpenGateway

log = logging.getLogger("merit.serving")


@dataclass(frozen=True)
class Reloaded:
    """What became of a changed configuration: taken over, or everything that is wrong with it."""

    changed: bool
    problems: Sequence[Problem] = ()


class LlmGateway:
    """The gateway of this process, or why there is none.

    Attributes
    ----------
    events : what happens on the platform, told whether or not the gateway runs.
    """

    def __init__(self, settings: Settings, *, tunes: bool = False) -> None:
        """
        Parameters
        ----------
        tunes : whether fine-tunes are worked on here, which brings pandas along.
        """
        self._settings = settings
        self._tunes = tunes
        self.opened: OpenGateway | None = None
        self._gateway: Gateway | None = None
        self._files: Files | None = None
        self._batches: Batches | None = None
        self._benchmarks: Benchmarks | None = None
        self._finetunes: Finetunes | None = None
        self.events = Feed(settings)
        self._exit = ExitStack()
        self._why = SettingsError("The LLM gateway has not been opened yet.")
        self._reloading = asyncio.Lock()

    @property
    def gateway(self) -> Gateway:
        """The gateway.

        Raises
        ------
        ServiceUnavailable : there is none; the message says why.
        """
        if self._gateway is None:
            raise ServiceUnavailable(
                f"The LLM gateway does not run in this process. {self._why.message}", remedy=self._why.remedy
            )
        return self._gateway

    @property
    def files(self) -> Files:
        """Files of applications; raises as `gateway` does."""
        assert self.gateway is not None
        assert self._files is not None
        return self._files

    @property
    def batches(self) -> Batches:
        """What works on batches; raises as `gateway` does."""
        assert self.gateway is not None
        assert self._batches is not None
        return self._batches

    @property
    def benchmarks(self) -> Benchmarks:
        """What runs benchmarks; raises as `gateway` does."""
        gateway = self.gateway
        if self._benchmarks is None:
            # Brings pandas along: a process that is a gateway alone has no need of it.
            from gateway.improve.benchmarks.running import Benchmarks

            assert self.opened is not None
            scoring = self.opened.improvement.scoring
            self._benchmarks = Benchmarks(self._settings, gateway, lambda: scoring.scorer)
        return self._benchmarks

    @property
    def finetunes(self) -> Finetunes:
        """What works on fine-tunes; raises as `gateway` does."""
        assert self.gateway is not None
        assert self._finetunes is not None
        return self._finetunes

    @property
    def why(self) -> SettingsError:
        """Why it does not run."""
        return self._why

    @property
    def runs(self) -> bool:
        return self._gateway is not None

    async def open(self) -> None:
        """Open it; a wrong setting keeps the gateway closed and is told, and everything else runs."""
        if not self.events.started:
            self.events.start()
            self._exit.enter_context(on_exit(self.events.end))
        try:
            from gateway.opening import OpenGateway
            from serving.batch_voice import open_batches

            self.opened = OpenGateway(self._settings)
            gateway = await self.opened.open()
            alone = self.opened.redis is None
            try:
                self._files, self._batches = await open_batches(self._settings, gateway, alone=alone)
                if self._tunes:
                    self._finetunes = await self._open_finetunes(gateway, alone=alone)
            except BaseException:
                await self.opened.close()
                raise
            gateway.parts.ledger.on_stored = self.events.wake
            self._gateway = gateway
        except SettingsError as error:
            self._why = error
            log.error("The LLM gateway does not run in this process: %s", error)

    async def _open_finetunes(self, gateway: Gateway, *, alone: bool) -> Finetunes:
        from gateway.improve.finetuning.working import Finetunes

        assert self.opened is not None
        scoring = self.opened.improvement.scoring
        made = Finetunes(self._settings, gateway, self.opened.reload, lambda: scoring.scorer, alone=alone)
        await made.start()
        return made

    async def reload(self) -> Reloaded:
        """Take over a changed configuration now; open the gateway where it was closed for a wrong one."""
        async with self._reloading:
            before = self._digest()
            if self.opened is None or not self.runs:
                await self.open()
                wrong = not self.runs
            else:
                await self.opened.reload()
                wrong = self.opened.reloader.error is not None
            problems = await asyncio.to_thread(self._problems) if wrong else ()
            return Reloaded(self._digest() != before, problems)

    def _digest(self) -> str | None:
        return None if self._gateway is None else self._gateway.parts.configuration.digest

    def _problems(self) -> Sequence[Problem]:
        source = source_of(self._settings)
        try:
            return check(read(source), self._settings, source=source)[1]
        except SettingsError as error:
            return [Problem("", "", error.message, error.remedy)]

    async def close(self) -> None:
        self._exit.close()
        await self.events.close()
        if self._gateway is not None and self.opened is not None:
            if self._finetunes is not None:
                await self._finetunes.close()
            if self._benchmarks is not None:
                await self._benchmarks.close()
                self._benchmarks = None
            if self._batches is not None:
                await self._batches.close()
            await self.opened.close()
            self._gateway = None
