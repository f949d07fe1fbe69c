"""What is sent to and answered by the routes of churn predictions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.churn.reasons.explanation import NOTE
from serving.moments import Moment

FAMILY = "churn"
# Postgres holds no NUL in text.
Customer = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]


class ReasonAnswer(BaseModel):
    """One thing that moved the estimate."""

    text: str = Field(examples=["support tickets up from 0 to 4 in 30 days"])
    column: str
    value: float | str | None
    usual: float | str | None = Field(description="Median or commonest value in training")
    effect: float = Field(description="Share of the log-odds before calibration; above zero it speaks for leaving")


class Reasons(BaseModel):
    """What speaks for and against the customer's leaving."""

    model_config = ConfigDict(json_schema_extra={"description": NOTE})

    usual_probability: float = Field(description="Where the estimate starts before anything is known of the customer")
    raises: list[ReasonAnswer]
    lowers: list[ReasonAnswer]


class PredictionRequest(BaseModel):
    """Whom to predict: exactly one of `customer_id`, `customer_ids`, `features` and `rows`."""

    model_config = ConfigDict(extra="forbid")

    customer_id: Customer | None = Field(None, description="A customer whose features the training flow published")
    customer_ids: list[Customer] | None = Field(
        None, description="Several of them; one that is not known refuses them all"
    )
    features: dict[str, Any] | None = Field(
        None, description="Every column the model reads; null where a value is not known"
    )
    rows: list[dict[str, Any]] | None = Field(
        None, description="Several sets of features; a `customer_id` among them is kept with the prediction"
    )
    model: str = Field(FAMILY, description="Name of a registered churn model", max_length=256)
    explain: bool = Field(False, description="Tell the reasons too; also as `?explain=true`", strict=True)


class PredictionAnswer(BaseModel):
    """One prediction, traceable by its id to the model's version and the data that it learned from."""

    id: str
    customer_id: str | None
    probability: float = Field(description="That the customer leaves within the horizon the model was trained for")
    band: str = Field(description="Risk band", examples=["high"])
    decision: Literal["offer", "no_offer"] = Field(description="Whether an offer is worth its cost at the threshold")
    threshold: float = Field(description="Probability from which an offer has positive expected value")
    model: str
    version: int
    dataset_digest: str | None
    ignored: list[str] = Field(default_factory=list, description="Names that were sent and the model does not read")
    reasons: Reasons | None = Field(None, description="Only when they were asked for")


class BatchItem(BaseModel):
    """One prediction of a batch."""

    id: str
    customer_id: str | None
    probability: float
    band: str
    decision: Literal["offer", "no_offer"]
    reasons: Reasons | None = None


class BatchAnswer(BaseModel):
    """Predictions in the order in which the customers were sent; all of one version."""

    predictions: list[BatchItem]
    threshold: float
    model: str
    version: int
    dataset_digest: str | None
    ignored: list[str] = Field(default_factory=list)


class Actual(BaseModel):
    """What really happened."""

    model_config = ConfigDict(extra="forbid")

    churned: bool = Field(description="Whether the customer left within the horizon", strict=True)


class ActualAnswer(BaseModel):
    """The outcome as it is kept."""

    prediction_id: str
    churned: bool
    reported_at: Moment
    reported_by: str | None


class StoredPrediction(BaseModel):
    """A prediction with everything it was made from."""

    id: str
    customer_id: str | None
    probability: float
    band: str
    decision: Literal["offer", "no_offer"]
    threshold: float
    model: str
    version: int
    run_id: str | None
    dataset_digest: str | None
    git_commit: str | None
    features: dict[str, Any]
    created_at: Moment
    request_id: str | None
    actual: ActualAnswer | None
    reasons: Reasons | None = None


class PredictionPage(BaseModel):
    """Predictions, newest first."""

    predictions: list[StoredPrediction]
    next_cursor: str | None = Field(description="Send it as `cursor` for the page after this one; null on the last")
