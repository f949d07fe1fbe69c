"""A long conversation made shorter: of what a model once answered, the sentences that a later turn is likely to need.

Unlike everything else that is done to a prompt this loses words. It is done only where it is asked for.
"""

from __future__ import annotations

from gateway.improve.prompts.marked import SENTENCES, Marked, holds_kept

_GAP = " … "
_SHORT = 240


def compacted(answer: str) -> str:
    """An old answer's first and last sentence and every sentence with code, quotations, data or numbers in it; a gap is
    marked by an ellipsis. Short ones stay as they are."""
    if len(answer) < _SHORT:
        return answer
    marked = Marked(answer)
    parts = SENTENCES.split(marked.text)
    last = max((place for place in range(0, len(parts), 2) if parts[place].strip()), default=0)
    made: list[str] = []
    gap = False
    for place in range(0, len(parts), 2):
        if place not in (0, last) and not holds_kept(parts[place]):
            gap = gap or bool(parts[place].strip())
            continue
        if made:
            made.append(_GAP if gap else parts[place - 1])
        made.append(parts[place])
        gap = False
    return marked.original("".join(made))
