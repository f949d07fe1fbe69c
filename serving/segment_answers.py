"""What the routes of segments take and give."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from serving.moments import Moment

# Postgres holds no NUL in text.
Customer = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]


class SegmentAnswer(BaseModel):
    """A segment of the champion, with the customers of the newest scores in it."""

    id: int = Field(description="Stays the same people's from one version to the next")
    name: str = Field(examples=["large, active, rising usage"])
    description: str = Field(description="What sets it apart, in the units of the data")
    customers: int
    share: float
    mean_value: float | None = Field(description="Mean lifetime value, in the currency of the data")
    total_value: float | None


class SegmentList(BaseModel):
    """The segments of the champion, by id."""

    segments: list[SegmentAnswer]
    customers: int
    value_days: int | None = Field(description="Days ahead that values add up")
    model: str
    version: int
    as_of: Moment | None = Field(description="Of the scores that were counted; null while the version was not scored")


class Typical(BaseModel):
    """A median of the segment beside that of all customers."""

    segment: float
    all: float


class SegmentDetail(SegmentAnswer):
    """A segment with the numbers behind its words."""

    sides: dict[str, float] = Field(description="Standard deviations off the mean of all customers")
    typical: dict[str, Typical] = Field(description="Medians, in the units of the data")
    next_period: dict[str, float] = Field(description="What its customers did in the period after, typically")
    horizon_days: int = Field(description="Length of that period")
    model: str
    version: int
    as_of: Moment | None


class Member(BaseModel):
    """A customer of a segment."""

    customer_id: str
    segment: int
    name: str | None
    value: float
    value_low: float | None = None
    value_high: float | None = None
    expected_purchases: float | None = Field(None, description="Purchases or monthly payments within the horizon")
    p_alive: float | None = Field(None, description="Probability of being a customer; at the horizon, for subscribers")
    confidence: float | None = Field(None, description="0 on the border to another segment, 1 far from every other")


class MemberPage(BaseModel):
    """Members of a segment as of one moment."""

    members: list[Member]
    model: str
    version: int
    as_of: Moment
    next_cursor: str | None = Field(description="Send it as `cursor` for the page after this one; null on the last")


class AssignRequest(BaseModel):
    """Whom to assign: exactly one of `customer_id`, `customer_ids`, `features` and `rows`."""

    model_config = ConfigDict(extra="forbid")

    customer_id: Customer | None = Field(None, description="A customer whose behaviour the training flow published")
    customer_ids: list[Customer] | None = Field(None, description="Several of them; one not known refuses them all")
    features: dict[str, Any] | None = Field(
        None, description="Every trait the segments are made from; null where a value is not known"
    )
    rows: list[dict[str, Any]] | None = Field(None, description="Several sets of features")
    model: str = Field("segmentation", description="Name of a registered segmentation model", max_length=256)


class Assigned(BaseModel):
    """The segment of one customer."""

    customer_id: str | None
    segment: int
    name: str
    confidence: float = Field(description="0 on the border to another segment, 1 far from every other")
    missing: list[str] = Field(description="Traits that were not known and counted as typical")
    value: float | None = Field(description="Lifetime value; null where the features lack what it needs")
    value_lacks: list[str] = Field(description="What the value needs and the features do not name; null is a name too")
    value_low: float | None = None
    value_high: float | None = None
    expected_purchases: float | None
    p_alive: float | None


class AssignAnswer(BaseModel):
    """Segments in the order in which the customers were sent; all of one version."""

    assignments: list[Assigned]
    ignored: list[str] = Field(default_factory=list, description="Names that were sent and the model does not read")
    model: str
    version: int
    dataset_digest: str | None


class SegmentSize(BaseModel):
    """A segment at one moment."""

    segment: int
    name: str | None
    customers: int
    share: float
    mean_value: float
    total_value: float


class MomentOfSegments(BaseModel):
    """All segments at one moment."""

    as_of: Moment
    version: int
    customers: int
    total_value: float
    segments: list[SegmentSize]


class Analytics(BaseModel):
    """Sizes and values over time, newest first."""

    model: str
    moments: list[MomentOfSegments]


class Flow(BaseModel):
    """Customers that went from one segment to another; null stands for not being a customer."""

    before: int | None
    after: int | None
    customers: int
    share_of_before: float | None = Field(description="Of the customers of the segment they came from")


class Movements(BaseModel):
    """Who went where between two moments."""

    model: str
    before: Moment
    before_version: int
    after: Moment
    after_version: int
    segments: list[int]
    names: dict[int, str | None]
    matrix: list[list[int]] = Field(description="Customers from segment (row) to segment (column), in their order")
    flows: list[Flow] = Field(description="Those that moved, came or left, the largest first")
    stayed: int
    moved: int
    came: int
    left: int


class HistoryEntry(BaseModel):
    """A customer's segment at one moment."""

    as_of: Moment
    version: int
    segment: int
    name: str | None
    value: float
    p_alive: float | None


class History(BaseModel):
    """A customer's segments over time, newest first."""

    customer_id: str
    model: str
    history: list[HistoryEntry]
