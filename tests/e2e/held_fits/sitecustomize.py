"""Laid on the path of a worker's processes: churn's boosters are not fitted before a file is there.

A test that kills a run in the middle of training must know what was finished then, and not be in a race with it.
"""

import importlib.util
import os
import sys
import time
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

FAMILY = "models.churn.family"
AT_ONCE = {"prevalence", "logistic"}


class Holding:
    """Finds the family's module once, and has its `fit` wait."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != FAMILY:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def executed(module: ModuleType) -> None:
            execute(module)
            fit = module.ChurnFamily.fit

            def held(self: Any, candidate: Any, *given: Any) -> Any:
                while candidate.name not in AT_ONCE and not Path(os.environ["FITS_WAIT_FOR"]).exists():
                    time.sleep(0.05)
                return fit(self, candidate, *given)

            module.ChurnFamily.fit = held

        spec.loader.exec_module = executed  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, Holding())
