"""Tests of what needs the extra `deep`; `make test-deep` runs them, and nothing collects them where torch is missing.

No pretrained weights are needed: a tiny Chronos-2 with random ones is made here and goes through the real pipeline.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from features.frequency import Grid
from models.forecasting.series import Series

collect_ignore_glob = [] if find_spec("torch") and find_spec("chronos") else ["test_*.py"]

DAILY = Grid("fixed", 86_400 * 10**9)


@pytest.fixture(scope="session")
def tiny_chronos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a Chronos-2 of one small layer and random weights, kept in 16 bits as the real one may be."""
    import torch
    from chronos.chronos2 import Chronos2Model
    from chronos.chronos2.config import Chronos2CoreConfig

    config = Chronos2CoreConfig(d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, vocab_size=2)
    config.architectures = ["Chronos2Model"]
    config.chronos_pipeline_class = "Chronos2Pipeline"
    config.chronos_config = {
        "context_length": 128, "output_patch_size": 8, "input_patch_size": 8, "input_patch_stride": 8,
        "quantiles": [k / 10 for k in range(1, 10)], "use_reg_token": True, "use_arcsinh": True,
        "max_output_patches": 4, "time_encoding_scale": 128,
    }  # fmt: skip
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("chronos") / "tiny model"
    Chronos2Model(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


Weekly = Callable[[str, int, int], Series]


@pytest.fixture(scope="session")
def weekly() -> Weekly:
    """`weekly(name, n, seed)` gives a series of days with a clear week."""

    def make(name: str, n: int, seed: int) -> Series:
        rng = np.random.default_rng(seed)
        index = np.arange(n)
        y = 100 + 0.05 * index + 15 * np.sin(2 * np.pi * index / 7) + rng.standard_normal(n)
        return Series(name, y, (7,), DAILY, first=19_000)

    return make
