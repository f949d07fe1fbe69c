"""A policy that was given what words mean: it knows words that no prompt it learned from had."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.gist import gists, word_buckets
from models.routing.material import prepare
from models.routing.model import RoutingModel, Scale
from models.routing.options import RoutingOptions
from models.routing.outcomes import Outcomes
from models.routing.training import fit
from models.routing.word_vectors import word_vectors
from store.errors import InvalidValue

From = Callable[..., Outcomes]

# Words of each kind, half of them to learn from. Too short to have beginnings in common that a gist looks at.
KINDS = {kind: [f"{first}{second}{kind}" for first in "abcdef" for second in "ghijklmn"] for kind in "rst"}
BEST = {"r": 0, "s": 1, "t": 2}


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A real table of Model2Vec in which words of one kind are near each other."""
    from model2vec import StaticModel
    from tokenizers import Tokenizer, models, pre_tokenizers

    draw = np.random.default_rng(3)
    words = ["[UNK]", "##s", "x", *(word for kind in KINDS.values() for word in kind)]
    centre = {kind: draw.normal(0, 1, 16) for kind in KINDS}
    vectors = np.zeros((len(words), 16), np.float32)
    for place, word in enumerate(words):
        kind = next((one for one in KINDS if word in KINDS[one]), None)
        vectors[place] = draw.normal(0, 0.3, 16) + (centre[kind] if kind else 0.0)
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path_factory.mktemp("embeddings")
    StaticModel(vectors, tokenizer).save_pretrained(folder)
    return str(folder)


def table(rows: int, seed: int, half: slice) -> pd.DataFrame:
    """Each kind is answered well by a model of its own; all cost the same."""
    draw = np.random.default_rng(seed)
    kind = draw.choice(list(KINDS), rows)
    prompts = [" ".join(draw.choice(KINDS[one][half], 4)) for one in kind]
    frame = pd.DataFrame({"prompt": prompts, "kind": kind})
    for place, name in enumerate(("cheap", "other", "dear")):
        good = np.array([BEST[one] == place for one in kind])
        frame[f"{name}|score"] = (draw.random(rows) < np.where(good, 0.95, 0.2)).astype(float)
        frame[f"{name}|cost"] = 1.0 + draw.random(rows) / 1000
    return frame


def right(model: RoutingModel, fresh: pd.DataFrame) -> float:
    chosen = model.decide(fresh["prompt"].tolist(), [0.0])[0][0]
    best = fresh["kind"].map(BEST).to_numpy()
    return float((np.array([("cheap", "other", "dear").index(model.models[one]) for one in chosen]) == best).mean())


def test_words_that_were_never_seen_are_known_by_what_they_mean(
    embeddings: str, outcomes_from: From, few: RoutingOptions, tmp_path: Path
) -> None:
    seen, fresh = outcomes_from(table(400, 1, slice(0, None, 2))), table(300, 2, slice(1, None, 2))
    knowing = replace(few, embeddings=embeddings)
    model = fit("blend", prepare(seen, knowing), knowing, Scale())
    ignorant = fit("blend", prepare(seen, few), few, Scale())
    assert right(ignorant, fresh) < 0.6
    assert right(model, fresh) > 0.9
    model.save(tmp_path / "model")
    # It decides without the table, and without the package.
    again = RoutingModel.load(tmp_path / "model")
    given = gists(fresh["prompt"].tolist())
    assert np.array_equal(again.predict(again.vectors(given))[0], model.predict(model.vectors(given))[0])
    empty = np.zeros((1, 0), np.float32)
    for text in (fresh["prompt"][0], "nothing known", ""):
        one = gists([text])
        assert np.allclose(again.basis.vector(one), again.basis.vectors(one, empty)[0], atol=1e-5)


def test_words_of_a_table_have_the_buckets_that_prompts_have(embeddings: str) -> None:
    found, vectors = word_vectors(embeddings)
    assert len(found) == sum(map(len, KINDS.values())) == len(vectors)
    assert set(found) <= set(gists([" ".join(word for kind in KINDS.values() for word in kind)]).buckets.tolist())
    words = ["house", "two words", "", "end.", "Ünder", "电", "7"]
    buckets = word_buckets(words)
    assert (buckets >= 0).tolist() == [True, False, False, False, True, True, True]
    assert all(one in gists([word]).buckets for word, one in zip(words, buckets, strict=True) if one >= 0)


def test_embeddings_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InvalidValue, match="cannot be read") as refused:
        word_vectors(str(tmp_path))
    assert "potion" in refused.value.remedy
    monkeypatch.setitem(sys.modules, "model2vec", None)
    monkeypatch.setattr("models.routing.word_vectors.find_spec", lambda _: None)
    with pytest.raises(InvalidValue, match="not installed") as refused:
        word_vectors(str(tmp_path))
    assert "meritorder[embeddings]" in refused.value.remedy
