"""The model registry: runs, versions, aliases and verified copies, kept by MLflow. The only package that imports it.

A registered version is a folder of ours: `contract.json` on top, native members in `members/<name>/`, Parquet files.
Never pyfunc, never cloudpickle, never code paths. Importing this package costs nothing: MLflow itself is imported at
first use.
"""

from __future__ import annotations

from store.registry.artifacts import folder_sha256
from store.registry.cards import CARD
from store.registry.native import load_native, save_native
from store.registry.registration import check_name
from store.registry.registry import Registry
from store.registry.runs import Run
from store.registry.versions import ModelInfo, VersionInfo

__all__ = [
    "CARD",
    "ModelInfo",
    "Registry",
    "Run",
    "VersionInfo",
    "check_name",
    "folder_sha256",
    "load_native",
    "save_native",
]
