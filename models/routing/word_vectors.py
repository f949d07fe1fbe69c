"""What words mean, from a table of static embeddings (the extra `embeddings`): read once, when a policy is trained.

A static embedding gives each word one vector whatever stands around it, so that the vector of a prompt is a weighted
sum over its words (Arora, Liang and Ma, 2017). The words of the table become buckets like those of prompts. So a policy
can be trained on gists, which hold no words, it knows words that no training prompt had, and it decides without the
table and without the extra.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from features.gist import BITS, Gists, word_buckets
from models.routing.projection import Projection, columns_of, rarity, upright, weighed
from store.errors import InvalidValue

Floats32 = NDArray[np.float32]

# Tokenisers mark what begins a word (▁, Ġ) or, with signs that are no letters, what goes on with one (##).
_BEGINS = "▁Ġ"
_SHORTEST = 2


def word_vectors(source: str) -> tuple[NDArray[np.int64], Floats32]:
    """Buckets of the words in a table of static embeddings, ascending, and their vectors.

    Parameters
    ----------
    source : a folder that Model2Vec wrote, or a name on the Hugging Face hub.

    Raises
    ------
    InvalidValue : the extra `embeddings` is not installed, or there is no such table.
    """
    if find_spec("model2vec") is None:
        raise InvalidValue(
            f"The embeddings {source!r} cannot be read: model2vec is not installed.",
            remedy="Install the extra embeddings (pip install 'meritorder[embeddings]'), or leave them out.",
            field="embeddings",
            value=source,
        )
    from model2vec import StaticModel

    try:
        table = StaticModel.from_pretrained(source)
    # Whatever a hub, a file system or a file's format brings.
    except Exception as error:
        raise InvalidValue(
            f"The embeddings {source!r} cannot be read: {type(error).__name__}: {error}",
            remedy="Name a folder that Model2Vec wrote, or a model on the hub such as minishlab/potion-base-8M.",
            field="embeddings",
            value=source,
        ) from error
    words = sorted(_words(table.tokens))
    buckets = word_buckets(words)
    kept = buckets >= 0
    whole = [word for word, one in zip(words, kept, strict=True) if one]
    vectors = np.asarray(table.encode(whole, use_multiprocessing=False), np.float32)
    # Words that share a bucket share their mean.
    found, place, count = np.unique(buckets[kept], return_inverse=True, return_counts=True)
    together = sp.csr_matrix((np.ones(len(place), np.float32), (place, np.arange(len(place)))))
    return found, (together @ vectors / count[:, None]).astype(np.float32)


def fit_meaning(gists: Gists, buckets: NDArray[np.int64], vectors: Floats32, *, dimensions: int) -> Projection:
    """The directions of the embeddings in which the training prompts differ most; no outcome takes part in it.

    Parameters
    ----------
    buckets, vectors : see `word_vectors`.
    """
    rows = len(gists)
    met = np.bincount(gists.buckets, minlength=1 << BITS)[buckets]
    made = Projection(columns_of(buckets), rarity(met, rows), vectors)
    weights = weighed(gists, made.column, made.idf)
    said = weights @ vectors
    said = said - said.mean(axis=0)
    _, _, right = np.linalg.svd(said.T @ said)
    axes = upright(right[: min(dimensions, max(rows - 1, 1))])
    return Projection(made.column, made.idf, vectors @ axes).level(weights)


def _words(tokens: Iterable[str]) -> set[str]:
    """Whole words among the tokens of a vocabulary, in small letters."""
    known = list(tokens)
    marked = any(token[:1] in _BEGINS for token in known if token)
    whole = (token[1:] for token in known if token[:1] and token[0] in _BEGINS) if marked else iter(known)
    plain = (token for token in whole if token.isalpha() and len(token) >= _SHORTEST)
    return {token.lower() for token in plain}
