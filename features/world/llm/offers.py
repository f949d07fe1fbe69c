"""Which simulated models there are. The gateway's own configuration states the same prices, speeds and qualities."""

from __future__ import annotations

from collections.abc import Mapping

from features.world.llm.models import SimulatedModel, Tier

_TALKS = frozenset({"chat", "stream", "json"})
_CALLS = _TALKS | {"json_schema", "tools"}
_CODES = _CALLS | {"code"}

MODELS: Mapping[str, SimulatedModel] = {
    one.id: one
    for one in (
        SimulatedModel(
            *("simulated", "nano", 50, 200, 12.5),
            {
                **{"": 0.42, "conversation": 0.74, "extraction": 0.64, "summary": 0.62, "translation": 0.56},
                **{"writing": 0.50, "knowledge": 0.46, "analysis": 0.34, "code": 0.30, "math": 0.24, "reasoning": 0.24},
            },
            ttft_ms=120,
            tokens_per_second=150,
            context=32_000,
            max_output=4_096,
            capabilities=_TALKS,
            wordiness=0.75,
            failures=0.004,
        ),
        SimulatedModel(
            *("simulated", "small", 150, 600, 37.5),
            {
                **{"": 0.60, "conversation": 0.82, "extraction": 0.77, "summary": 0.77, "translation": 0.73},
                **{"writing": 0.67, "knowledge": 0.63, "analysis": 0.56, "code": 0.53, "math": 0.45, "reasoning": 0.45},
            },
            ttft_ms=200,
            tokens_per_second=110,
            context=128_000,
            max_output=16_384,
            capabilities=_CALLS,
            wordiness=0.9,
        ),
        SimulatedModel(
            *("simulated", "medium", 800, 3_200, 160),
            {
                **{"": 0.77, "conversation": 0.88, "extraction": 0.86, "summary": 0.86, "translation": 0.85},
                **{"writing": 0.81, "knowledge": 0.79, "analysis": 0.75, "code": 0.73, "math": 0.67, "reasoning": 0.68},
            },
            ttft_ms=350,
            tokens_per_second=80,
            context=200_000,
            max_output=32_768,
            capabilities=_CODES,
        ),
        SimulatedModel(
            *("simulated", "large", 3_000, 15_000, 300),
            {
                "": 0.93,
                "writing": 0.94,
                "analysis": 0.93,
                "knowledge": 0.94,
                "code": 0.91,
                "math": 0.87,
                "reasoning": 0.90,
            },
            ttft_ms=700,
            tokens_per_second=55,
            context=1_000_000,
            max_output=64_000,
            capabilities=_CODES | {"reasoning", "vision", "documents"},
            cache_write=3_750,
            tier=Tier(200_000, 6_000, 22_500, 600, 7_500),
            wordiness=1.25,
            failures=0.003,
        ),
        SimulatedModel(
            *("simulated", "coder", 500, 2_000, 50),
            {
                **{"": 0.57, "code": 0.93, "math": 0.68, "reasoning": 0.64, "extraction": 0.70, "analysis": 0.60},
                **{"conversation": 0.62, "writing": 0.48},
            },
            ttft_ms=300,
            tokens_per_second=100,
            context=256_000,
            max_output=65_536,
            capabilities=_CODES,
        ),
        SimulatedModel(
            *("simulated", "thinker", 2_000, 8_000, 500),
            {
                **{"": 0.82, "math": 0.95, "reasoning": 0.95, "analysis": 0.91, "code": 0.88, "knowledge": 0.85},
                **{"conversation": 0.80, "writing": 0.78},
            },
            ttft_ms=2_500,
            tokens_per_second=60,
            context=200_000,
            max_output=100_000,
            capabilities=_CODES | {"reasoning"},
            thinking=2.0,
        ),
        SimulatedModel(
            *("simulated", "vision", 400, 1_600, 100),
            {
                **{"": 0.70, "extraction": 0.85, "summary": 0.80, "conversation": 0.80, "code": 0.58, "math": 0.55},
                **{"reasoning": 0.57},
            },
            ttft_ms=450,
            tokens_per_second=75,
            context=128_000,
            max_output=16_384,
            capabilities=_CALLS | {"vision", "documents"},
        ),
        SimulatedModel(
            *("simulated", "embed", 20, 0, 20),
            {"": 0.80},
            ttft_ms=40,
            tokens_per_second=1_000,
            context=8_192,
            max_output=0,
            capabilities=frozenset({"embeddings"}),
            kind="embeddings",
        ),
        SimulatedModel(
            *("simulated-local", "small", 0, 0, 0),
            {
                **{"": 0.55, "conversation": 0.76, "extraction": 0.68, "summary": 0.68, "translation": 0.60},
                **{"code": 0.46, "math": 0.38, "reasoning": 0.38},
            },
            ttft_ms=250,
            tokens_per_second=40,
            context=16_000,
            max_output=4_096,
            capabilities=_TALKS | {"tools"},
            failures=0.006,
        ),
        SimulatedModel(
            *("simulated-local", "large", 0, 0, 0),
            {
                **{"": 0.72, "conversation": 0.84, "extraction": 0.80, "summary": 0.81, "code": 0.66, "math": 0.60},
                **{"reasoning": 0.61},
            },
            ttft_ms=900,
            tokens_per_second=18,
            context=32_000,
            max_output=8_192,
            capabilities=_CODES,
            failures=0.006,
        ),
    )
}
