"""What users thought of answers, and what is known of their likings."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from gateway.account.contents import Contents
from gateway.account.feedback import Opinion, judge
from gateway.account.preference_store import PreferenceStore
from gateway.choose.preferences import Preferences
from serving.access import Caller
from serving.audited import note
from serving.dependencies import Application, GatewayDep, GatewayServices
from serving.known_query import ONLY_KNOWN
from serving.llm_runs import JudgementAnswer, judgement, line_of
from serving.llm_scope import own_workspace, scope_of
from serving.moments import GivenMoment
from store import llm_feedback
from store.errors import AccessDenied
from store.pages import storable

router = APIRouter(prefix="/v1/llm", tags=["LLM gateway"], dependencies=[ONLY_KNOWN])

LONGEST_TEXT = 200_000
Name = Annotated[str, Field(min_length=1, max_length=256)]
CallId = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
User = Annotated[
    str,
    Path(description="The person as applications name them, or `key:NAME`", min_length=1, max_length=256),
]
Workspace = Annotated[
    str | None, Query(description="For keys of the platform; default: the caller's own", min_length=1, max_length=256)
]


class FeedbackRequest(BaseModel):
    """An opinion of one answer: exactly one of thumb, stars, score and edit."""

    model_config = ConfigDict(extra="forbid")

    call: CallId = Field(description="Id of the call: `merit.id` of the answer, or the header `x-merit-id`")
    thumb: Literal["up", "down"] | None = None
    stars: Annotated[int, Field(ge=1, le=5)] | None = None
    score: Annotated[float, Field(ge=0, le=1)] | None = None
    edit: Annotated[str, Field(max_length=LONGEST_TEXT)] | None = Field(
        None, description="What was made of the answer before it was used; the part that was kept counts, not the text"
    )
    answer: Annotated[str, Field(max_length=LONGEST_TEXT)] | None = Field(
        None, description="The answer that was edited, where its workspace keeps no words"
    )
    comment: Annotated[str, Field(max_length=2_000)] | None = Field(
        None, description="Kept as it is for as long as the workspace keeps words"
    )


class FeedbackPage(BaseModel):
    """Opinions, newest first."""

    feedback: list[JudgementAnswer]
    next_cursor: str | None = Field(description="Send it as `cursor` for the page after this one; null on the last")


class PreferenceRequest(BaseModel):
    """What to change; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    said: Annotated[dict[Name, Annotated[float, Field(ge=0, le=1)] | None], Field(max_length=500)] = Field(
        default_factory=dict, description="Model → liking, 0 never again to 1 always; null takes back what was said"
    )
    tradeoff: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="0 wants quality at any price, 1 the lowest price"
    )
    forget: bool = Field(False, description="Drop what was learned")


class LikingAnswer(BaseModel):
    """What is known of one model."""

    model: str
    liking: float = Field(description="0 to 1, a half is indifference")
    said: float | None = Field(description="What the user said outright; it wins over what was learned")
    answers: float = Field(description="Evidence, in answers judged; old ones fade")
    domains: dict[str, float]


class PreferenceAnswer(BaseModel):
    """What is known of a user's likings, the best liked model first."""

    workspace: str
    user: str
    tradeoff: float
    models: list[LikingAnswer]


class Erased(BaseModel):
    erased: bool = Field(description="False: nothing was known")


_OPINIONS: dict[str, Any] = {
    "thumb": {"value": {"call": "0" * 32, "thumb": "up"}},
    "stars, with a comment": {"value": {"call": "0" * 32, "stars": 4, "comment": "Right, but long."}},
}
_LIKINGS: dict[str, Any] = {"likes one": {"value": {"said": {"simulated/small": 0.9}, "tradeoff": 0.5}}}


@router.post("/feedback", status_code=201, summary="Judge an answer")
def give(
    body: Annotated[FeedbackRequest, Body(openapi_examples=_OPINIONS)], services: GatewayDep, caller: Application
) -> JudgementAnswer:
    """Kept, and learned as a preference of the user whom the answer was for. A key of the role application judges
    answers that it asked for. A correction is another opinion; earlier ones stay."""
    line = line_of(services, scope_of(caller), body.call)
    contents = services.gateway.parts.contents if services.llm.runs else Contents(services.settings)
    opinion = Opinion(body.thumb, body.stars, body.score, body.edit, body.answer, body.comment)
    return judgement(judge(services.settings, contents, _store(services), line, opinion, caller.name))


@router.get("/feedback", summary="List feedback")
def listing(
    services: GatewayDep,
    caller: Application,
    call: Annotated[str | None, Query(description="Only of this call", pattern="^[0-9a-f]{32}$")] = None,
    user: Annotated[str | None, Query(description="Only of answers to this person", max_length=256)] = None,
    source: Annotated[Literal["thumb", "stars", "score", "edit", "repeat"] | None, Query()] = None,
    workspace: Workspace = None,
    since: Annotated[GivenMoment | None, Query(description="Given at or after this moment, UTC unless it says")] = None,
    until: Annotated[GivenMoment | None, Query(description="Given before this moment")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: Annotated[
        str | None, Query(description="`next_cursor` of the page before", pattern="^[0-9a-f]{1,32}$")
    ] = None,
) -> FeedbackPage:
    """A key of the role application sees what was reported with it, other keys those of their workspace."""
    scope = scope_of(caller, workspace)
    found = llm_feedback.judgements(
        services.settings,
        workspace=scope.workspace,
        call_id=call,
        user=user,
        source=source,
        reported_by=None if scope.key_id is None else caller.name,
        since=since,
        until=until,
        limit=limit,
        cursor=cursor,
    )
    return FeedbackPage(feedback=[judgement(one) for one in found.items], next_cursor=found.next_cursor)


@router.get("/preferences/{user:path}", summary="What a user likes")
def preferences(user: User, services: GatewayDep, caller: Application, workspace: Workspace = None) -> PreferenceAnswer:
    """Learned from feedback, repeats and edits, and what was said outright; empty for a user of whom nothing is
    known."""
    place, user = _whose(caller, workspace, user)
    return _preferences(place, user, _store(services).get(place, user))


@router.put("/preferences/{user:path}", summary="Say what a user likes")
def prefer(
    user: User,
    body: Annotated[PreferenceRequest, Body(openapi_examples=_LIKINGS)],
    services: GatewayDep,
    caller: Application,
    workspace: Workspace = None,
) -> PreferenceAnswer:
    """What is said wins over what was learned. The strategy `preferred` follows it within seconds."""
    place, user = _whose(caller, workspace, user)
    changed = _store(services).edit(place, user, said=body.said, tradeoff=body.tradeoff, forget=body.forget)
    return _preferences(place, user, changed)


@router.delete("/preferences/{user:path}", summary="Forget what a user likes")
def forget(
    user: User, request: Request, services: GatewayDep, caller: Application, workspace: Workspace = None
) -> Erased:
    """What was learned and what was said. Feedback itself stays."""
    place, user = _whose(caller, workspace, user)
    erased = _store(services).erase(place, user)
    if erased:
        note(services, request, caller, "preferences.erase", user, workspace=place)
    return Erased(erased=erased)


def _whose(caller: Caller, workspace: str | None, user: str) -> tuple[str, str]:
    """Workspace and user; an application manages its users and itself, not other keys."""
    if caller.role == "application" and user.startswith("key:") and user != f"key:{caller.name}":
        raise AccessDenied(
            f"The key {caller.name!r} may not look at what another key prefers.",
            remedy="Use a key of the role analyst.",
            field="user",
            value=user,
        )
    return own_workspace(caller, workspace), storable(user)


def _store(services: GatewayServices) -> PreferenceStore:
    opened = services.llm.opened
    return opened.preferences if services.llm.runs and opened is not None else PreferenceStore(services.settings)


def _preferences(workspace: str, user: str, found: Preferences) -> PreferenceAnswer:
    return PreferenceAnswer(
        workspace=workspace,
        user=user,
        tradeoff=found.tradeoff,
        models=[LikingAnswer(**one) for one in found.explain()],
    )
