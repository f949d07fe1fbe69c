"""Which failures of a request in a batch pass, and how long is waited."""

from __future__ import annotations

import random

import pytest

from gateway.call.batch_retry import LONGEST_S, Passing, passing
from store import errors


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.RateLimited("r", retry_after=7.0), Passing(everybody=True, counts=False, retry_after=7.0)),
        (
            errors.UpstreamFailed("u", details={"overloaded": True}, retry_after=2.0),
            Passing(everybody=True, counts=False, retry_after=2.0),
        ),
        (errors.UpstreamFailed("u", details={"unavailable": True}), Passing(everybody=False, counts=False)),
        (errors.UpstreamFailed("u"), Passing(everybody=False, counts=True)),
        (errors.DeadlineExceeded("d"), Passing(everybody=False, counts=True)),
        (errors.ServiceUnavailable("s"), Passing(everybody=True, counts=False)),
        (errors.NoCandidate("n", details={"unavailable": True}), Passing(everybody=False, counts=False)),
        (errors.NoCandidate("n"), None),
        (errors.BudgetExceeded("b", retry_after=3.0), None),
        (errors.UpstreamRefused("u"), None),
        (errors.ContentRefused("c"), None),
        (errors.UnknownLlm("u"), None),
        (errors.InvalidValue("i"), None),
    ],
)
def test_what_passes(error: errors.MeritError, expected: Passing | None) -> None:
    assert passing(error) == expected


def test_what_was_said_is_waited_for_and_else_longer_each_time() -> None:
    rng = random.Random(1)
    told = Passing(everybody=True, counts=False, retry_after=20.0)
    assert all(20.0 <= told.wait(tries, rng) <= 21.0 for tries in range(1, 50))
    untold = Passing(everybody=True, counts=False)
    for tries in range(1, 200):
        ceiling = min(LONGEST_S, 2.0 ** (tries - 1))
        assert ceiling / 2 <= untold.wait(tries, rng) <= ceiling
    # A provider that names next year is not waited for that long.
    assert Passing(everybody=True, counts=False, retry_after=1e9).wait(1, rng) <= 10 * LONGEST_S
