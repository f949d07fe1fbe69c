"""Every error Meritorder raises on purpose, in one tree.

MeritError
├── SettingsError              a setting is missing or contradicts another
├── DataError                  what was given does not fit
│   ├── FileUnreadable         the file or URL cannot be read as a table
│   ├── MissingColumn          a column that was asked for is not there
│   ├── WrongType              a column or field holds another type
│   ├── InvalidValue           a value lies outside what is allowed
│   ├── EmptyData              nothing is left to work on
│   └── ValidationFailed       critical expectations of a contract failed
├── TrainingError              a model could not be fitted or evaluated
├── RegistryError              the registry and the promotion ledger
│   ├── UnknownModel           no model of that name
│   ├── UnknownVersion         no such version of the model
│   ├── NoChampion             nothing has been promoted yet
│   ├── PromotionConflict      somebody else promoted in the meantime
│   └── IntegrityFailed        an artifact differs from what was promoted
├── UnknownEntity              no customer, series or stored object of that id
├── StateConflict              a stored object is no longer, or not yet, in the state that a move needs
├── AccessDenied               the key lacks the role, or there is no valid key
├── GatewayError               a prompt was not answered
│   ├── UnknownLlm             no model, strategy or ensemble of that name
│   ├── NoCandidate            a limit excludes every model; the message names the limit for each
│   ├── BudgetExceeded         the call would spend past a budget
│   ├── RateLimited            too many requests or tokens in a short time
│   ├── UpstreamFailed         every attempt failed
│   ├── UpstreamRefused        the provider says that the request itself is wrong
│   ├── DeadlineExceeded       the time that the caller gave is up
│   ├── NoConsensus            the members of an ensemble do not agree
│   └── ContentRefused         an output filter of the workspace holds the answer back
└── ServiceUnavailable         a server that is needed does not answer

A message names what was wrong, shows the value, and says what to do next. `remedy` holds that last part alone, so
that the API can put it in a field of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class MeritError(Exception):
    """Base of the tree.

    Parameters
    ----------
    message : what is wrong, with the offending name and value.
    remedy : what the reader can do about it, as an imperative sentence.
    field : the column, setting or request field at fault, when there is one.
    value : the offending value, when it is safe to show.
    """

    def __init__(self, message: str, *, remedy: str = "", field: str | None = None, value: Any = None) -> None:
        super().__init__(message, remedy, field, value)
        self.message = message
        self.remedy = remedy
        self.field = field
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process borders (task results, workers): rebuild without calling __init__ positionally.
        return (_rebuild, (type(self), self.__dict__.copy()))

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


def _rebuild(kind: type[MeritError], state: dict[str, Any]) -> MeritError:
    error = kind.__new__(kind)
    Exception.__init__(error, state.get("message", ""))
    error.__dict__.update(state)
    return error


class SettingsError(MeritError):
    """A setting is missing or contradicts another."""


class DataError(MeritError):
    """What was given does not fit."""


class FileUnreadable(DataError):
    """The file or URL cannot be read as a table."""


class MissingColumn(DataError):
    """A column that was asked for is not there."""


class WrongType(DataError):
    """A column or field holds another type."""


class InvalidValue(DataError):
    """A value lies outside what is allowed."""


class EmptyData(DataError):
    """Nothing is left to work on."""


class ValidationFailed(DataError):
    """Critical expectations of a contract failed."""


class TrainingError(MeritError):
    """A model could not be fitted or evaluated."""


class RegistryError(MeritError):
    """The registry and the promotion ledger."""


class UnknownModel(RegistryError):
    """No model of that name."""


class UnknownVersion(RegistryError):
    """No such version of the model."""


class NoChampion(RegistryError):
    """Nothing has been promoted yet."""


class PromotionConflict(RegistryError):
    """Somebody else promoted in the meantime."""


class IntegrityFailed(RegistryError):
    """An artifact differs from what was promoted."""


class UnknownEntity(MeritError):
    """No customer, series or stored object of that id."""


class StateConflict(MeritError):
    """A stored object is no longer, or not yet, in the state that a move needs."""


class AccessDenied(MeritError):
    """The key lacks the role, or there is no valid key."""


class GatewayError(MeritError):
    """A prompt was not answered.

    Attributes
    ----------
    retry_after : seconds after which trying again makes sense; None when it does not, or nobody knows.
    details : JSON-ready members for the answer: attempts, excluded models, the budget.
    """

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "",
        field: str | None = None,
        value: Any = None,
        retry_after: float | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy, field=field, value=value)
        self.retry_after = retry_after
        self.details = dict(details or {})


class UnknownLlm(GatewayError):
    """No model, strategy or ensemble of that name."""


class NoCandidate(GatewayError):
    """A limit excludes every model; the message names the limit for each."""


class BudgetExceeded(GatewayError):
    """The call would spend past a budget."""


class RateLimited(GatewayError):
    """Too many requests or tokens in a short time."""


class UpstreamFailed(GatewayError):
    """Every attempt failed."""


class UpstreamRefused(GatewayError):
    """The provider says that the request itself is wrong.

    Attributes
    ----------
    status : of the provider's answer, 400 to 422.
    """

    status: int = 400


class DeadlineExceeded(GatewayError):
    """The time that the caller gave is up."""


class NoConsensus(GatewayError):
    """The members of an ensemble do not agree."""


class ContentRefused(GatewayError):
    """An output filter of the workspace holds the answer back."""


class ServiceUnavailable(MeritError):
    """A server that is needed does not answer."""
