"""The simulated provider: a request in, and out of it what is sent, when, and what it is charged.

Nothing here waits or sends: an `Exchange` says what a server has to do, which tells back how far it came.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from features.world.llm.models import SimulatedModel
from features.world.llm.tokens import count, encode
from gateway.simulated.answers import Answers
from gateway.simulated.asked import Asked, Refused, invalid
from gateway.simulated.bill import Bill, Charge
from gateway.simulated.embeddings import DIMENSIONS, MOST_DIMENSIONS, as_base64, embed
from gateway.simulated.exchange import OPENAI, Exchange, Shape, refusal, streamed_or_whole, whole_body
from gateway.simulated.faults import Faults, Struck
from gateway.simulated.models import ServedModels
from gateway.simulated.prompt_cache import LEAST, PromptCache
from gateway.simulated.told import Told
from gateway.simulated.tuning import Tuning

SPEED = 20.0
_PER_IMAGE = 256
_PER_MESSAGE = 4


class SimulatedProvider:
    """Models, faults and the bill together.

    Parameters
    ----------
    seed : of every answer.
    speed : delays are divided by it; 0: none at all.
    failures : factor to the share of calls that fail by themselves; default: 1, and 0 without delays, which is how
        one measures.
    folder : where what was tuned is kept over a restart; None: nowhere.
    """

    def __init__(
        self,
        seed: int = 7,
        speed: float = SPEED,
        failures: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        folder: Path | None = None,
    ) -> None:
        self.speed = speed
        self.models = ServedModels()
        self.answers = Answers(seed)
        self.faults = Faults(seed, (1.0 if speed else 0.0) if failures is None else failures, clock)
        self.bill = Bill()
        self.prompts = PromptCache()
        self.tuning = Tuning(self.models, self.bill, lambda: self.speed, time.time, folder)
        # Ids are unique over restarts, and cheap.
        self._run = secrets.token_hex(6)
        self._calls = 0
        self._changes = self.models.changes

    def reset(self) -> None:
        """As it was when it started."""
        self.models.reset()
        self.tuning.clear()
        self.answers.clear()
        self.faults.clear()
        self.bill.clear()
        self.prompts.clear()

    def chat(
        self, shape: Shape, provider: str, parse: Callable[[Any], Asked], body: bytes, call: str | None
    ) -> Exchange:
        """Answer a prompt in a shape.

        Parameters
        ----------
        provider : the one at whose address it was asked.
        parse : makes an `Asked` of the JSON.
        call : the client's own name of the request, for the bill.
        """
        name = self._next()
        try:
            asked = _parsed(parse, _json(body))
            if asked.model.startswith("ft:"):
                self.tuning.advance()
            model = self.models.find(provider, asked.model)
            struck = self.faults.strike(model)
            _fail(struck)
            tokens = encode(asked.context) if len(asked.context) > LEAST else None
            length = (count(asked.context) if tokens is None else len(tokens)) + _PER_MESSAGE * asked.messages
            length += _PER_IMAGE * asked.images
            _check(model, asked, length)
        except Refused as refused:
            return refusal(shape, refused, name)
        if struck is not None and struck.ending == "hang":
            return Exchange(0, (), ending="hang")
        if self._changes != self.models.changes:
            self._changes = self.models.changes
            self.answers.clear()
        told = self._told(model, asked, struck, name, length, tokens)
        pace = (struck.slower if struck else 1.0) / self.speed if self.speed else 0.0

        def book(generated: int, whole: bool) -> None:
            if struck is not None and struck.billed is False:
                return
            self._charge(model, told, call, generated, whole, struck)

        return streamed_or_whole(shape, told, model, struck, pace, stream=asked.stream, book=book)

    def embeddings(self, provider: str, body: bytes, call: str | None) -> Exchange:
        """Answer with vectors, as `POST /v1/embeddings` does."""
        name = self._next()
        try:
            given = _json(body)
            model = self.models.find(provider, str(given.get("model")))
            if model.kind != "embeddings":
                raise invalid(f"{model.name} is no model for embeddings.", "model")
            struck = self.faults.strike(model)
            _fail(struck)
            texts = _texts(given.get("input"))
            dimensions = given.get("dimensions") or DIMENSIONS
            if not isinstance(dimensions, int) or not 1 <= dimensions <= MOST_DIMENSIONS:
                raise invalid(f"dimensions must lie between 1 and {MOST_DIMENSIONS}.", "dimensions")
            lengths = [count(text) for text in texts]
            if max(lengths) > model.context:
                raise _too_long(model, max(lengths))
        except Refused as refused:
            return refusal(OPENAI, refused, name)
        if struck is not None and struck.ending == "hang":
            return Exchange(0, (), ending="hang")
        encoded = given.get("encoding_format") == "base64"
        vectors = (embed(text, dimensions) for text in texts)
        content = {
            "object": "list",
            "data": [
                {"object": "embedding", "index": n, "embedding": as_base64(one) if encoded else one.tolist()}
                for n, one in enumerate(vectors)
            ],
            "model": given["model"],
            "usage": {"prompt_tokens": sum(lengths), "total_tokens": sum(lengths)},
        }
        if struck is not None and struck.usage == "never":
            del content["usage"]
        cost = round(model.cost(sum(lengths), 0) * (struck.price if struck else 1.0))
        line = Charge(f"embd-{name}", call, model.id, sum(lengths), 0, 0, 0, 0, cost, True, time.time())
        wait = model.ttft_ms / 1_000 * (struck.slower if struck else 1.0) / self.speed if self.speed else 0.0

        def book(_generated: int, _whole: bool) -> None:
            if struck is None or struck.billed is not False:
                self.bill.add(line)

        return whole_body(orjson.dumps(content), name, wait, 0, struck, book)

    def _next(self) -> str:
        self._calls += 1
        return f"{self._run}{self._calls:012x}"

    def _told(
        self,
        model: SimulatedModel,
        asked: Asked,
        struck: Struck | None,
        name: str,
        length: int,
        tokens: Sequence[int] | None,
    ) -> Told:
        variant: object = 0
        if asked.temperature:
            variant = asked.seed if asked.seed is not None else self._calls
        shift = self.models.shift(model) + (struck.shift if struck else 0.0)
        reply = self.answers.reply(model, asked, shift, variant)
        cached = written = 0
        if tokens is not None and len(tokens) >= LEAST and asked.mark_cache is not False:
            cached = self.prompts.read(model.id, tokens)
            # Only who marks what is to be kept pays for writing it.
            written = len(tokens) - cached if asked.mark_cache else 0
        return Told(
            id=name,
            created=int(time.time()),
            name=asked.model,
            reply=reply,
            input=length,
            cached=cached,
            written=written,
            include_usage=asked.include_usage,
            usage=struck.usage if struck else "",
        )

    def _charge(
        self,
        model: SimulatedModel,
        told: Told,
        call: str | None,
        generated: int,
        whole: bool,
        struck: Struck | None,
    ) -> None:
        cost = model.cost(told.input, generated, told.cached, told.written)
        self.bill.add(
            Charge(
                id=told.id,
                call=call,
                model=model.id,
                input=told.input,
                cached=told.cached,
                cache_write=told.written,
                output=generated,
                reasoning=min(generated, told.reply.reasoning_tokens),
                cost=round(cost * struck.price) if struck else cost,
                whole=whole,
                at=time.time(),
            )
        )


def _parsed(parse: Callable[[Any], Asked], given: Any) -> Asked:
    """What was asked; a request that does not have the format's shape is refused as a provider does."""
    try:
        return parse(given)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise invalid("The request does not have the shape that this format says.") from None


def _json(body: bytes) -> dict[str, Any]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid(f"We could not parse the JSON body of your request: {error}.") from None
    if not isinstance(content, dict):
        raise invalid("The body of the request must be a JSON object.")
    return content


def _texts(given: Any) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if (
        not isinstance(texts, list)
        or not texts
        or len(texts) > 2_048
        or not all(isinstance(t, str) and t for t in texts)
    ):
        raise invalid("input must be a text or an array of 1 to 2048 texts, none of them empty.", "input")
    return texts


def _check(model: SimulatedModel, asked: Asked, length: int) -> None:
    """Refuse what the model cannot do.

    Raises
    ------
    Refused : 400; also where prompt and answer do not fit into the context.
    """
    if model.kind != "chat":
        raise invalid("This is not a chat model and thus not supported here.", "model")
    for needed, name in ((asked.tools, "tools"), (asked.images, "vision"), (asked.schema, "json_schema")):
        if needed and name not in model.capabilities:
            raise invalid(f"The model {model.name!r} does not support {name}.", name)
    if asked.max_tokens is not None and asked.max_tokens > model.max_output:
        message = f"max_tokens is too large: {asked.max_tokens}. This model makes at most {model.max_output} tokens."
        raise invalid(message, "max_tokens")
    if length + (asked.max_tokens or 0) > model.context:
        raise _too_long(model, length + (asked.max_tokens or 0))


def _too_long(model: SimulatedModel, length: int) -> Refused:
    message = f"This model's maximum context length is {model.context} tokens, however you requested {length} tokens."
    return invalid(
        f"{message} Please reduce the length of the prompt: it is too long.", "messages", "context_length_exceeded"
    )


def _fail(struck: Struck | None) -> None:
    """Answer with an error where one was planted."""
    if struck is None or not struck.status:
        return
    if struck.status == 429:
        kind, said = "rate_limit_error", "Rate limit reached. Please slow down."
    elif struck.status >= 500:
        kind, said = "server_error", "The server had an error while processing your request."
    else:
        kind, said = "invalid_request_error", "The request was refused."
    code = {429: "rate_limit_exceeded", 401: "invalid_api_key"}.get(struck.status)
    raise Refused(struck.status, kind, said, code=code, retry_after=struck.retry_after)
