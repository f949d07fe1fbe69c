"""How many segments, which words, which ids: the rules by themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.segmentation.behaviour import BUYERS, SUBSCRIBERS, Concept
from models.segmentation.choice import Tried, choose, silhouettes, try_numbers
from models.segmentation.family import SegmentationModel
from models.segmentation.fitting import bic, fit_partition
from models.segmentation.identity import match, numbered
from models.segmentation.naming import unique_names
from models.segmentation.partition import Centroids, assign, partition_from
from models.segmentation.scaling import fit_scaler
from models.segmentation.succession import succeed
from store.errors import InvalidValue, MissingColumn, WrongType


def blobs(count: int = 3, rows: int = 120, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = 6 * np.eye(4)[:count]
    return np.concatenate([centre + rng.normal(0, 1, (rows, 4)) for centre in centres])


@pytest.mark.parametrize("method", ["kmeans", "gaussian_mixture"])
def test_planted_segments_are_found(method: str) -> None:
    z = blobs()
    tried = try_numbers(method, z, range(2, 6), seed=1, bootstraps=4)  # type: ignore[arg-type]
    assert choose(tried) == 3
    three = next(one for one in tried if one.k == 3)
    assert three.stability > 0.97
    assert three.low <= three.stability <= three.high
    assert three.silhouette == max(one.silhouette for one in tried)
    codes = assign(fit_partition(method, z, 3, seed=2), z)  # type: ignore[arg-type]
    for part in np.split(codes, 3):
        assert np.bincount(part, minlength=3).max() > 115


def tried(k: int, stability: float, silhouette: float, bic: float, smallest: float = 0.1) -> Tried:
    return Tried(k, stability, stability, stability, silhouette, bic, smallest)


def test_the_rule_asks_for_stability_then_silhouette_then_bic() -> None:
    two, three, four = tried(2, 0.9, 0.4, 300), tried(3, 0.8, 0.35, 200), tried(4, 0.6, 0.5, 100)
    assert choose([two, three, four]) == 3
    # A silhouette that falls off too far is not made up for by the BIC.
    assert choose([two, replace(three, silhouette=0.2), four]) == 2
    # Where none is stable the one that comes nearest counts.
    assert choose([replace(two, stability=0.5), replace(three, stability=0.4), four]) == 4
    # A handful of customers is no segment.
    assert choose([two, replace(three, smallest=0.01), four]) == 2


def test_bic_of_noise_asks_for_few() -> None:
    z = np.random.default_rng(1).normal(size=(300, 4))
    found = {k: bic(fit_partition("gaussian_mixture", z, k, 0), z) for k in (1, 2, 5)}
    assert found[1] < found[2] < found[5]
    assert len(silhouettes(z, np.zeros(300, dtype=np.intp), 0)) == 0


CONCEPTS = (Concept("size", "large", "small"), Concept("trend", "rising", "falling"), Concept("age", "old", "new"))


def test_names_tell_what_is_notable_in_the_order_of_the_concepts() -> None:
    sides = [{"trend": -1.2, "size": 0.9, "age": 0.1}, {"size": -0.5, "age": 0.3, "trend": 0.0}, {"size": 0.1}]
    assert unique_names(CONCEPTS, sides) == ["large, falling", "small", "average"]


@given(
    st.lists(
        st.fixed_dictionaries({"size": st.floats(-3, 3), "trend": st.floats(-3, 3), "age": st.floats(-3, 3)}),
        min_size=1,
        max_size=12,
    )
)
@settings(max_examples=60, deadline=None)
def test_no_two_segments_share_a_name(sides: list[dict[str, float]]) -> None:
    ordered = [dict(sorted(side.items(), key=lambda item: -abs(item[1]))) for side in sides]
    names = unique_names(CONCEPTS, ordered)
    assert len(set(names)) == len(names)
    assert all(names)


@given(st.permutations(range(6)), st.integers(0, 1_000))
@settings(max_examples=40, deadline=None)
def test_the_same_people_keep_their_id_in_whatever_order_they_come(order: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    old = 10 * np.eye(6)
    new = old[order] + rng.normal(0, 0.3, (6, 6))
    pairs = match(old, new, np.full((6, 6), 3.0))
    ids, highest = numbered(pairs, 6, (4, 9, 2, 7, 11, 3), 11, range(6))
    assert ids == tuple((4, 9, 2, 7, 11, 3)[place] for place in order)
    assert highest == 11


def test_new_segments_get_new_ids_and_vanished_ids_do_not_come_back() -> None:
    old = 10 * np.eye(4)[:3]
    # The second is gone; one is far from everything.
    new = np.array([old[2], [0, 0, 0, 50], old[0]])
    pairs = match(old, new, np.full((3, 3), 3.0))
    assert pairs == {0: 2, 2: 0}
    ids, highest = numbered(pairs, 3, (1, 2, 3), 3, (1, 0, 2))
    assert (ids, highest) == ((3, 4, 1), 4)
    # A generation later the far one has vanished too, and the second is back: it is not the one that it was.
    again = match(new, old, np.full((3, 3), 3.0))
    ids, highest = numbered(again, 3, ids, highest, (0, 1, 2))
    assert (ids, highest) == ((1, 5, 3), 5)


def test_two_versions_of_a_model_agree_on_their_ids(fitted: dict[str, SegmentationModel]) -> None:
    model = fitted["kmeans"]
    backwards = replace(
        model,
        partition=Centroids(model.partition.centres[::-1]),  # type: ignore[attr-defined]
        segments=tuple(replace(one, id=place + 1) for place, one in enumerate(model.segments[::-1])),
    )
    champion = replace(model, segments=tuple(replace(one, id=10 + one.id) for one in model.segments), highest=20)
    ids, highest, told = succeed(backwards, champion)
    assert ids == tuple(10 + one.id for one in model.segments[::-1])
    assert highest == 20
    assert told == {"kept": sorted(ids), "new": [], "vanished": []}
    whole = fitted["one_segment"]
    ids, highest, told = succeed(whole, champion)
    assert len(ids) == 1
    assert highest in (20, 21)
    assert len(told["vanished"]) >= len(model.segments) - 1


def test_partitions_come_back_from_json(fitted: dict[str, SegmentationModel], frame: pd.DataFrame) -> None:
    for model in fitted.values():
        z = model.scaler.matrix(frame.head(200))
        again = partition_from(model.partition.to_dict())
        assert assign(again, z).tolist() == assign(model.partition, z).tolist()
        sure = model.partition.confidence(z)
        assert np.all((sure >= 0) & (sure <= 1))


def test_the_scale_holds_outliers_and_shares_weights(frame: pd.DataFrame) -> None:
    latest = frame[frame["as_of"] == frame["as_of"].max()]
    scaler = fit_scaler(latest, BUYERS)
    assert scaler.columns == BUYERS.columns
    weights = dict(zip(scaler.columns, scaler.weights, strict=True))
    # Two signs of frequency weigh together what one sign of recency does.
    assert weights["orders"] ** 2 + weights["orders_recent"] ** 2 == pytest.approx(weights["recency_days"] ** 2)
    giant = latest.head(1).assign(spent=1e12)
    assert np.abs(scaler.matrix(giant)).max() < 6
    row = latest.iloc[3].to_dict()
    np.testing.assert_allclose(scaler.row(row), scaler.matrix(latest.iloc[[3]])[0], rtol=1e-12)
    hole = {**row, "spent": None}
    assert scaler.missing(hole) == ["spent"]
    np.testing.assert_allclose(scaler.row(hole), scaler.matrix(latest.iloc[[3]].assign(spent=np.nan))[0], rtol=1e-12)


def test_what_does_not_fit_the_scale_is_named(frame: pd.DataFrame) -> None:
    latest = frame[frame["as_of"] == frame["as_of"].max()]
    scaler = fit_scaler(latest, BUYERS)
    row = latest.iloc[0].to_dict()
    for record, error, words in (
        ({**row, "spent": "much"}, WrongType, "spent: 'much' is no number"),
        ({**row, "orders": float("inf")}, InvalidValue, "orders is infinite"),
        ({key: value for key, value in row.items() if key not in ("orders", "spent")}, MissingColumn, "orders, spent"),
    ):
        with pytest.raises(error, match=words):
            scaler.row(record)
    with pytest.raises(MissingColumn, match="orders"):
        scaler.matrix(latest.drop(columns="orders"))
    flat = fit_scaler(latest.assign(orders=1.0, orders_recent=0.0), BUYERS)
    assert flat.flat == ("orders", "orders_recent")
    with pytest.raises(InvalidValue, match="behave alike"):
        fit_scaler(latest.assign(**dict.fromkeys(BUYERS.columns, 3.0)), BUYERS)


def test_every_concept_has_words_and_every_trait_a_concept() -> None:
    for behaviour in (BUYERS, SUBSCRIBERS):
        concepts = {one.name for one in behaviour.concepts}
        assert {trait.concept for trait in behaviour.traits} == concepts
        assert all(one.high and one.low for one in behaviour.concepts)
        assert behaviour.worth in behaviour.columns
        assert {name for name, _ in behaviour.rfm} <= set(behaviour.columns)
