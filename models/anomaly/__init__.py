"""Anomalies of series: what is unusual, how unusual, what kind, and which parts caused it."""

VIEW = "anomalies"
"""Name under which states of detectors are published, one row per series; see `store.feature_rows`."""

KIND = "anomaly"
"""Kind of the events that tell of an anomaly; see `store.events`."""
