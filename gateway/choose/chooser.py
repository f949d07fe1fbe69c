"""Which model answers: limits, expectations, the strategy's order, a draw where chance is meant, and the reasons."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from gateway.choose import embedding, strategies
from gateway.choose.candidates import Candidates, confidence_of, ranked_of, with_other_provider_next
from gateway.choose.catalogue import Model
from gateway.choose.decision import Decision, Task
from gateway.choose.draw import Drawn, draw, numbers
from gateway.choose.ensemble import Ensemble
from gateway.choose.exclusion import no_candidate
from gateway.choose.limits import Roster, admitted
from gateway.choose.live import Live
from gateway.choose.members import described, least_members, together
from gateway.choose.outlook import Outlook
from gateway.choose.policy import Policy
from gateway.choose.preferences import Preferences
from gateway.choose.request import in_tool_loop, text_of
from gateway.choose.sentence import reason_of, reason_of_ensemble
from gateway.choose.strategies import RoundRobin
from gateway.choose.virtual import Asked, Names, Strategy
from gateway.prompt import Prompt, Tenant

# Of how many models a decision tells, the cheapest always among them.
MOST_RANKED = 5
# Share of `auto` calls that try a model which is used little. Such a model may cost so many times the best one's price,
# or this many nanos, whichever is more: exploration adds at most ε · (3 − 1) = 4 % to a bill of more than trifles.
EXPLORE, DEARER, TRIFLING = 0.02, 3.0, 1e5
_SAME = 1e-9
_MOST_NAMES = 1_024
_COUNTED = 4_096

PreferencesOf = Callable[[Tenant], Preferences | None]


class Chooser:
    """Decides, in microseconds, without waiting for anything. Used from one event loop.

    Parameters
    ----------
    catalogue : models with unique ids.
    policy : predicts quality, length and time; see `replace_policy`.
    live : what traffic tells now.
    preferences : the likings of who asks, for `preferred`; must not wait long.
    aliases : further names in the field `model`.
    ensembles : name → ensemble.
    clock : seconds that never go back.
    explore : share of `auto` calls that try a model which is used little; 0 for never.
    seed : of the draws; the same prompt id and seed give the same draw.

    Raises
    ------
    InvalidValue : names that contradict each other; see `gateway.choose.virtual.Names`.
    """

    def __init__(
        self,
        catalogue: Sequence[Model],
        policy: Policy,
        live: Live,
        *,
        preferences: PreferencesOf | None = None,
        aliases: Mapping[str, str] | None = None,
        ensembles: Mapping[str, Ensemble] | None = None,
        clock: Callable[[], float] = time.monotonic,
        explore: float = EXPLORE,
        seed: str = "",
    ) -> None:
        self.names = Names(catalogue, aliases, ensembles)
        self.roster = Roster(catalogue)
        self._outlook = Outlook(policy, live, clock)
        self._live = live
        self._preferences = preferences
        self._explore = explore
        self._seed = seed.encode()[:64]
        self._asked: dict[str, Asked] = {}
        self._round_robin = RoundRobin()
        # Model → how often it was chosen of late; halved now and then.
        self._times: dict[str, float] = {}
        self._counted = 0

    @property
    def policy(self) -> Policy:
        """What predicts now."""
        return self._outlook.policy

    @property
    def exploration(self) -> tuple[float, float]:
        """Share of `auto` calls that try a model which is used little, and how many times dearer it may be."""
        return self._explore, DEARER

    def replace_policy(self, policy: Policy) -> None:
        """Let another policy predict from the next decision on."""
        self._outlook.policy = policy

    def ask(self, name: str) -> Asked:
        """What the field `model` means.

        Raises
        ------
        UnknownLlm : nothing that is known.
        """
        found = self._asked.get(name)
        if found is None:
            found = self.names.parse(name)
            if len(self._asked) >= _MOST_NAMES:
                self._asked.clear()
            self._asked[name] = found
        return found

    def ensemble_of(self, prompt: Prompt) -> Ensemble | None:
        """The ensemble that a prompt asks for, with what its options say of it; None for every other prompt."""
        asked = self.ask(prompt.model)
        return None if asked.ensemble is None else described(asked.ensemble, prompt.options, self.names)

    def decide(
        self,
        prompt: Prompt,
        task: Task,
        *,
        allowed: frozenset[str] | None = None,
        stay: str | None = None,
        dry: bool = False,
        most: int = MOST_RANKED,
    ) -> Decision:
        """Choose.

        Parameters
        ----------
        allowed : ids and providers that the workspace may use; None: all.
        stay : id of the model that a conversation must not leave now (in a tool loop), as long as it may answer.
        dry : the decision is only looked at: it takes no turn and counts for nothing.
        most : how many models to tell of.

        Returns
        -------
        For an ensemble, `ranked` are its members, all of which are to be asked; for every other strategy the chosen
        model and its fallbacks.

        Raises
        ------
        UnknownLlm : the name means nothing.
        NoCandidate : no model may answer.
        InvalidValue : a capability that there is not, or an ensemble whose options contradict each other.
        """
        asked = self.ask(prompt.model)
        if prompt.kind == "embeddings":
            return embedding.decide(self.roster, self._live, asked, prompt, task, allowed, most)
        if asked.hint is not None and asked.hint != task.domain:
            task = replace(task, domain=asked.hint)
        if asked.strategy is Strategy.EXPLICIT:
            decision = self._explicit(asked, prompt, task, allowed, most)
        else:
            candidates = self._candidates(asked, prompt, task, allowed)
            if asked.ensemble is not None:
                return self._together(asked.ensemble, prompt, task, candidates)
            decision = self._virtual(asked, prompt, task, candidates, stay, dry, most)
        if not dry:
            self._count(decision.ranked[0].model.id)
        return decision

    def _candidates(
        self, asked: Asked, prompt: Prompt, task: Task, allowed: frozenset[str] | None, only: str | None = None
    ) -> Candidates:
        limits = prompt.limits
        group = self.roster.group(
            "chat",
            task.needs,
            limits,
            stream=prompt.stream,
            local_only=asked.strategy is Strategy.PRIVATE,
            allowed=allowed,
            only=only,
        )
        expected, measured, policy = self._outlook.of(group, task, text_of(prompt.body), self._times)
        places, excluded = admitted(group, task, limits, self._live, expected)
        if not places:
            raise no_candidate(prompt.model, "chat", excluded)
        return Candidates(group, expected, measured, policy, places, excluded)

    def _virtual(
        self, asked: Asked, prompt: Prompt, task: Task, candidates: Candidates, stay: str | None, dry: bool, most: int
    ) -> Decision:
        strategy, places = asked.strategy, candidates.places
        stays = candidates.place_of(stay) if stay is not None else None
        if strategy is Strategy.ROUND_ROBIN and stays is None:
            return self._in_turn(prompt, task, candidates, dry, most)
        scores = self._scores(strategy, prompt, task, candidates)
        order = sorted(places, key=scores.__getitem__, reverse=True)
        if stays is not None:
            order.remove(stays)
            order.insert(0, stays)
            drawn = Drawn(0, 1.0)
        else:
            drawn = self._draw(strategy, prompt, order, scores, candidates)
            if drawn.at:
                order.insert(0, order.pop(drawn.at))
        confidence = 1.0 if stays is not None else confidence_of(order, scores, task)
        order = with_other_provider_next(candidates.group, order, scores)
        ranked = ranked_of(candidates, order, scores, most)
        return Decision(
            prompt.id,
            prompt.model,
            strategy.value,
            task,
            ranked,
            candidates.excluded,
            confidence,
            candidates.policy,
            drawn.propensity,
            drawn.explored,
            reason_of(strategy, task, ranked, explored=drawn.explored, stays=stays is not None),
        )

    def _scores(self, strategy: Strategy, prompt: Prompt, task: Task, candidates: Candidates) -> list[float]:
        expected = candidates.expected
        if strategy is Strategy.CHEAPEST:
            return strategies.cheapest(expected, task, candidates.places, prompt.limits.min_quality)
        if strategy is Strategy.FASTEST:
            return strategies.fastest(expected)
        if strategy is Strategy.BEST:
            return strategies.best(expected)
        if strategy is Strategy.CAPABILITY:
            return strategies.capability(expected, task, candidates.group.models)
        if strategy is Strategy.PREFERRED and self._preferences is not None:
            preferences = self._preferences(prompt.tenant)
            if preferences is not None:
                return strategies.preferred(
                    expected, task, candidates.group.models, preferences.liking, preferences.tradeoff
                )
        return strategies.auto(expected, task)

    def _draw(
        self, strategy: Strategy, prompt: Prompt, order: Sequence[int], scores: Sequence[float], candidates: Candidates
    ) -> Drawn:
        expected, measured = candidates.expected, candidates.measured
        top = scores[order[0]] - _SAME
        tied = 1
        while tied < len(order) and scores[order[tied]] >= top:
            tied += 1
        explore, weights = 0.0, None
        if (
            strategy is Strategy.AUTO
            and self._explore > 0.0
            and prompt.options.explore
            and not prompt.limits.local_only
            and not in_tool_loop(prompt.body)
        ):
            ceiling = max(DEARER * expected.cost[order[0]], TRIFLING)
            cost, rare = expected.cost, measured.rare
            explore, weights = self._explore, [rare[one] if cost[one] <= ceiling else 0.0 for one in order]
        elif tied == 1 and not measured.lowered:
            return Drawn(0, 1.0)
        shares = [expected.share[one] for one in order] if measured.lowered else [1.0] * len(order)
        return draw(tied, shares, numbers(prompt.id, self._seed), explore, weights)

    def _in_turn(self, prompt: Prompt, task: Task, candidates: Candidates, dry: bool, most: int) -> Decision:
        """Round-robin; the propensity is the long-run share of the model whose turn it is."""
        group, places = candidates.group, candidates.places
        ids = [group.ids[place] for place in places]
        weights = self._round_robin.weights(
            [candidates.expected.share[place] for place in places], [self._live.in_flight(id_) for id_ in ids]
        )
        credits = self._round_robin.turn(ids, weights, dry=dry)
        scores = dict(zip(places, credits, strict=True))
        order = sorted(places, key=scores.__getitem__, reverse=True)
        ranked = ranked_of(candidates, order, scores, most)
        return Decision(
            prompt.id,
            prompt.model,
            Strategy.ROUND_ROBIN.value,
            task,
            ranked,
            candidates.excluded,
            1.0,
            candidates.policy,
            weights[places.index(order[0])] / sum(weights),
            False,
            reason_of(Strategy.ROUND_ROBIN, task, ranked, explored=False, stays=False),
        )

    def _explicit(
        self, asked: Asked, prompt: Prompt, task: Task, allowed: frozenset[str] | None, most: int
    ) -> Decision:
        """The model that was named; others only where the options say so, and only for one that fails or gets no
        traffic, not for one that cannot do what is asked."""
        named = asked.model or ""
        only = None if prompt.options.fallbacks else named
        candidates = self._candidates(asked, prompt, task, allowed, only)
        place = candidates.place_of(named)
        if place is None:
            why = candidates.excluded.get(named, "not for chat")
            if not why.startswith("unavailable"):
                raise no_candidate(prompt.model, "chat", {named: why})
        scores = strategies.auto(candidates.expected, task)
        order = sorted(candidates.places, key=scores.__getitem__, reverse=True)
        if place is not None:
            order.remove(place)
            order.insert(0, place)
        ranked = ranked_of(candidates, with_other_provider_next(candidates.group, order, scores), scores, most)
        reason = reason_of(Strategy.EXPLICIT, task, ranked, explored=False, stays=False)
        if place is None:
            reason = f"{named} is {candidates.excluded[named]}. {reason}"
        return Decision(
            prompt.id,
            prompt.model,
            Strategy.EXPLICIT.value,
            task,
            ranked,
            candidates.excluded,
            1.0,
            candidates.policy,
            reason=reason,
        )

    def _together(self, ensemble: Ensemble, prompt: Prompt, task: Task, candidates: Candidates) -> Decision:
        ensemble = described(ensemble, prompt.options, self.names)
        scores = strategies.auto(candidates.expected, task)
        order = sorted(candidates.places, key=scores.__getitem__, reverse=True)
        places, excluded = together(
            ensemble, candidates.group, order, scores, candidates.expected, prompt.limits.max_cost
        )
        if len(places) < least_members(ensemble):
            excluded = {**candidates.excluded, **excluded}
            if ensemble.members:
                excluded = {member: excluded.get(member, "") for member in ensemble.members if member in excluded}
            raise no_candidate(prompt.model, "chat", excluded)
        ranked = ranked_of(candidates, places, scores, len(places))
        return Decision(
            prompt.id,
            prompt.model,
            Strategy.ENSEMBLE.value,
            task,
            ranked,
            {**candidates.excluded, **excluded},
            1.0,
            candidates.policy,
            reason=reason_of_ensemble(ensemble.rule, ranked),
        )

    def _count(self, model_id: str) -> None:
        times = self._times
        times[model_id] = times.get(model_id, 0.0) + 1.0
        self._counted += 1
        if self._counted >= _COUNTED:
            self._counted = 0
            for one in times:
                times[one] *= 0.5
