"""How far a flow is, told to whoever started it in this process."""

from __future__ import annotations

from flows.run import watcher


class Steps:
    """Counts the steps of a flow; `step("what is being done")` begins the next one."""

    def __init__(self, total: int) -> None:
        self._watcher, self.total, self._done = watcher(), total, 0

    def __call__(self, label: str) -> None:
        if self._watcher:
            self._watcher(label, self._done, self.total)
        self._done += 1

    def finish(self) -> None:
        if self._watcher:
            self._watcher("done", self.total, self.total)
