"""The features of a customer at a moment: what they mean, and the SQL that computes them from what was known then."""

# ruff: noqa: S608 - every piece of SQL is a constant of this file

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from features.views.known import KNOWN

FEATURES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "kind": ("", "Household, business or industrial customer"),
        "region": ("", "Sales region"),
        "country": ("", "Country of the contract"),
        "channel": ("", "How the customer came to us"),
        "employees": ("people", "Size of the organisation; empty for households or where unknown"),
        "tenure_days": ("days", "Time since the customer signed up"),
        "plan": ("", "Plan; the dearest where there are several subscriptions"),
        "monthly_price": ("EUR/month", "What the customer pays for all subscriptions"),
        "contract_months": ("months", "Length of the contract of that plan"),
        "days_to_contract_end": ("days", "Time until that contract ends or renews"),
        "price_change_90d": ("share", "Change of the price of the same plan over the last 90 days; 0.05 is 5 % dearer"),
        "price_change_365d": ("share", "Change of the price of the same plan over the last 365 days"),
        "plan_changes_365d": ("changes", "Changes of plan within the last 365 days"),
        "list_gap": ("share", "Price paid over the list price of the plan and region, less 1"),
        "competitor_gap": ("share", "Price paid over the competitors' price of the plan and region, less 1"),
        "api_calls_7d": ("calls/day", "Mean API calls over the last 7 days"),
        "api_calls_28d": ("calls/day", "Mean API calls over the last 28 days"),
        "api_calls_90d": ("calls/day", "Mean API calls over the last 90 days"),
        "api_calls_trend_7d": ("log ratio", "API calls of the last 7 days against the 21 before; −0.7 is a halving"),
        "api_calls_trend_28d": ("log ratio", "API calls of the last 28 days against the 56 before; −0.7 is a halving"),
        "compute_hours_28d": ("hours/day", "Mean compute time over the last 28 days"),
        "compute_hours_trend_28d": ("log ratio", "Compute time of the last 28 days against the 56 before"),
        "energy_kwh_28d": ("kWh/day", "Mean energy over the last 28 days"),
        "energy_kwh_trend_28d": ("log ratio", "Energy of the last 28 days against the 56 before"),
        "storage_gb": ("GB", "Storage on the last day known"),
        "storage_growth_28d": ("log ratio", "Storage of the last 28 days against the 56 before"),
        "active_users_7d": ("people", "Mean daily active users over the last 7 days"),
        "active_users_28d": ("people", "Mean daily active users over the last 28 days"),
        "active_users_trend_28d": ("log ratio", "Active users of the last 28 days against the 56 before"),
        "idle_days_28d": ("share", "Days without any active user among the last 28"),
        "tickets_30d": ("tickets", "Tickets opened in the last 30 days"),
        "tickets_90d": ("tickets", "Tickets opened in the last 90 days"),
        "tickets_medium_90d": ("tickets", "Tickets of medium severity in the last 90 days"),
        "tickets_high_30d": ("tickets", "Tickets of high severity in the last 30 days"),
        "tickets_high_90d": ("tickets", "Tickets of high severity in the last 90 days"),
        "tickets_open": ("tickets", "Tickets of the last 365 days that are still open"),
        "satisfaction_90d": ("points 1–5", "Mean rating of the tickets closed in the last 90 days; empty without one"),
        "bad_ratings_90d": ("tickets", "Tickets rated 1 or 2 that were closed in the last 90 days"),
        "late_invoices_90d": ("invoices", "Invoices that fell overdue unpaid in the last 90 days"),
        "late_invoices_365d": ("invoices", "Invoices that fell overdue unpaid in the last 365 days"),
        "overdue_amount": ("EUR", "Amount of invoices that are overdue and unpaid"),
        "logins_28d": ("events", "Logins in the last 28 days"),
        "logins_trend_28d": ("log ratio", "Logins of the last 28 days against the 28 before, one added to each"),
        "exports_28d": ("events", "Exports in the last 28 days"),
        "automations_28d": ("events", "Automations run in the last 28 days"),
        "invites_84d": ("events", "Invitations of colleagues in the last 84 days"),
        "api_keys_84d": ("events", "API keys made in the last 84 days"),
        "errors_28d": ("events", "Product errors in the last 28 days"),
        "downgrade_visits_28d": ("visits", "Visits to the downgrade page in the last 28 days"),
        "downgrade_visits_84d": ("visits", "Visits to the downgrade page in the last 84 days"),
    }
)
"""Feature → (unit, what it means). Shares and log ratios have no dimension."""

STRINGS = ("kind", "region", "country", "channel", "plan")
TABLES = ("customers", "subscriptions", "usage_daily", "invoices", "tickets", "product_events", "prices")
USAGE_DAYS = 90
"""Days of usage that features look back on."""

PERSONAL = tuple(name for name in TABLES if name != "prices")


def _since(column: str, days: int, origin: str = "$t") -> str:
    return f"{column} > {origin} - INTERVAL {days} DAY AND {column} <= {origin}"


def _usage_mean(metric: str, newest: int, oldest: int) -> str:
    """Mean over complete days `newest` … `oldest` days ago; yesterday is 1."""
    window = f"day >= $day - INTERVAL {oldest} DAY AND day <= $day - INTERVAL {newest} DAY"
    return f"favg({metric}) FILTER ({window})"


def _usage_trend(metric: str, split: int, oldest: int) -> str:
    """Log ratio of two adjacent windows; null unless the earlier one holds at least two weeks of days."""
    earlier = f"day >= $day - INTERVAL {oldest} DAY AND day < $day - INTERVAL {split} DAY"
    now, before = _usage_mean(metric, 1, split), _usage_mean(metric, split + 1, oldest)
    return (
        f"CASE WHEN count({metric}) FILTER ({earlier}) >= 14 THEN "
        f"ln(greatest({now}, 1e-3) / greatest({before}, 1e-3)) END"
    )


def _events(name: str, newest: int, oldest: int) -> str:
    window = f"occurred_at > $t - INTERVAL {oldest} DAY AND occurred_at <= $t - INTERVAL {newest} DAY"
    return f"coalesce(sum(count) FILTER (name = '{name}' AND {window}), 0)"


def _price_before(days: int) -> str:
    """The state that held `days` ago, or the first one."""
    return f"""
        SELECT subscription_id,
               arg_max(monthly_price, event_time) FILTER (event_time <= $t - INTERVAL {days} DAY) AS price,
               arg_max(plan, event_time) FILTER (event_time <= $t - INTERVAL {days} DAY) AS plan,
               arg_min(monthly_price, event_time) AS first_price, arg_min(plan, event_time) AS first_plan
        FROM states GROUP BY subscription_id"""


def _price_change(before: str) -> str:
    return (
        f"CASE WHEN coalesce({before}.plan, {before}.first_plan) = active.plan "
        f"AND coalesce({before}.price, {before}.first_price) > 0 "
        f"THEN active.monthly_price / coalesce({before}.price, {before}.first_price) - 1 ELSE 0 END"
    )


ALIVE = f"""
    states AS (SELECT * FROM subscriptions WHERE {KNOWN}),
    active AS (
        SELECT * FROM (
            SELECT *, row_number() OVER (PARTITION BY subscription_id ORDER BY event_time DESC) AS age FROM states
        ) WHERE age = 1 AND status = 'active' AND started_on <= $t AND (ended_on IS NULL OR ended_on > $t)
    )"""
"""Subscriptions that were active at $t, as far as was known at $t: one that has given notice is not."""

QUERY = f"""
WITH {ALIVE},
main AS (
    SELECT * FROM (
        SELECT *, row_number() OVER (PARTITION BY customer_id ORDER BY monthly_price DESC, subscription_id) AS place,
               sum(monthly_price) OVER (PARTITION BY customer_id) AS paid
        FROM active
    ) WHERE place = 1
),
first_start AS (SELECT customer_id, min(started_on) AS began FROM states GROUP BY customer_id),
quarter_ago AS ({_price_before(90)}),
year_ago AS ({_price_before(365)}),
moves AS (
    SELECT subscription_id, count(*) AS changes FROM (
        SELECT subscription_id, plan, event_time,
               lag(plan) OVER (PARTITION BY subscription_id ORDER BY event_time) AS earlier
        FROM states
    ) WHERE plan <> earlier AND {_since("event_time", 365)} GROUP BY subscription_id
),
people AS (SELECT * FROM customers WHERE {KNOWN}),
shelf AS (
    SELECT plan, region, arg_max(price, valid_from) AS price, arg_max(competitor_price, valid_from) AS competitor
    FROM prices WHERE {KNOWN} AND valid_from <= $t GROUP BY plan, region
),
used AS (
    SELECT customer_id,
           {_usage_mean("api_calls", 1, 7)} AS api_calls_7d,
           {_usage_mean("api_calls", 1, 28)} AS api_calls_28d,
           {_usage_mean("api_calls", 1, 90)} AS api_calls_90d,
           {_usage_trend("api_calls", 7, 28)} AS api_calls_trend_7d,
           {_usage_trend("api_calls", 28, 84)} AS api_calls_trend_28d,
           {_usage_mean("compute_hours", 1, 28)} AS compute_hours_28d,
           {_usage_trend("compute_hours", 28, 84)} AS compute_hours_trend_28d,
           {_usage_mean("energy_kwh", 1, 28)} AS energy_kwh_28d,
           {_usage_trend("energy_kwh", 28, 84)} AS energy_kwh_trend_28d,
           arg_max(storage_gb, day) AS storage_gb,
           {_usage_trend("storage_gb", 28, 84)} AS storage_growth_28d,
           {_usage_mean("active_users", 1, 7)} AS active_users_7d,
           {_usage_mean("active_users", 1, 28)} AS active_users_28d,
           {_usage_trend("(active_users + 0.2)", 28, 84)} AS active_users_trend_28d,
           {_usage_mean("CASE WHEN active_users = 0 THEN 1.0 ELSE 0.0 END", 1, 28)} AS idle_days_28d
    FROM usage_daily WHERE {KNOWN} AND day >= $day - INTERVAL {USAGE_DAYS} DAY AND day < $day GROUP BY customer_id
),
asked AS (
    SELECT customer_id,
           count(*) FILTER ({_since("opened_at", 30)}) AS tickets_30d,
           count(*) FILTER ({_since("opened_at", 90)}) AS tickets_90d,
           count(*) FILTER (severity = 'medium' AND {_since("opened_at", 90)}) AS tickets_medium_90d,
           count(*) FILTER (severity = 'high' AND {_since("opened_at", 30)}) AS tickets_high_30d,
           count(*) FILTER (severity = 'high' AND {_since("opened_at", 90)}) AS tickets_high_90d,
           count(*) FILTER (closed_at IS NULL OR closed_at > $t) AS tickets_open,
           avg(satisfaction) FILTER ({_since("closed_at", 90)}) AS satisfaction_90d,
           count(*) FILTER (satisfaction <= 2 AND {_since("closed_at", 90)}) AS bad_ratings_90d
    FROM tickets WHERE {KNOWN} AND {_since("opened_at", 365)} GROUP BY customer_id
),
billed AS (
    SELECT customer_id,
           count(*) FILTER (late AND {_since("overdue_on", 90)}) AS late_invoices_90d,
           count(*) FILTER (late AND {_since("overdue_on", 365)}) AS late_invoices_365d,
           coalesce(fsum(amount) FILTER (unpaid AND late), 0) AS overdue_amount
    FROM (
        SELECT *, due_on + INTERVAL 1 DAY AS overdue_on, paid_on IS NULL OR paid_on > $t AS unpaid,
               due_on + INTERVAL 1 DAY <= $t AND (paid_on IS NULL OR paid_on > due_on) AND amount > 0 AS late
        FROM invoices WHERE {KNOWN}
    ) GROUP BY customer_id
),
clicked AS (
    SELECT customer_id,
           {_events("login", 0, 28)} AS logins_28d,
           ln(1.0 + {_events("login", 0, 28)}) - ln(1.0 + {_events("login", 28, 56)}) AS logins_trend_28d,
           {_events("export", 0, 28)} AS exports_28d,
           {_events("automation", 0, 28)} AS automations_28d,
           {_events("invite", 0, 84)} AS invites_84d,
           {_events("api_key", 0, 84)} AS api_keys_84d,
           {_events("error", 0, 28)} AS errors_28d,
           {_events("downgrade_page", 0, 28)} AS downgrade_visits_28d,
           {_events("downgrade_page", 0, 84)} AS downgrade_visits_84d
    FROM product_events WHERE {KNOWN} AND {_since("occurred_at", 84)} GROUP BY customer_id
),
described AS (
    SELECT active.customer_id AS customer_id, people.kind, people.region, upper(people.country) AS country,
           people.channel, people.employees,
           date_diff('day', coalesce(people.signup_date, first_start.began), $day) AS tenure_days,
           active.plan, active.paid AS monthly_price, active.contract_months,
           date_diff('day', $day, CASE WHEN term_end > $day THEN term_end
                                       ELSE active.started_on + to_months((terms + 1) * active.contract_months) END
           ) AS days_to_contract_end,
           {_price_change("quarter_ago")} AS price_change_90d,
           {_price_change("year_ago")} AS price_change_365d,
           coalesce(moves.changes, 0) AS plan_changes_365d,
           active.monthly_price / nullif(shelf.price, 0) - 1 AS list_gap,
           active.monthly_price / nullif(shelf.competitor, 0) - 1 AS competitor_gap
    FROM (
        SELECT *, started_on + to_months(terms * contract_months) AS term_end FROM (
            SELECT *, (datesub('month', started_on, $day) // greatest(contract_months, 1) + 1)::INTEGER AS terms
            FROM main
        )
    ) AS active
    LEFT JOIN people USING (customer_id)
    LEFT JOIN first_start USING (customer_id)
    LEFT JOIN quarter_ago USING (subscription_id)
    LEFT JOIN year_ago USING (subscription_id)
    LEFT JOIN moves USING (subscription_id)
    LEFT JOIN shelf ON shelf.plan = active.plan AND shelf.region = people.region
)
SELECT customer_id, $t AS as_of, %(features)s
FROM described
LEFT JOIN used USING (customer_id)
LEFT JOIN asked USING (customer_id)
LEFT JOIN billed USING (customer_id)
LEFT JOIN clicked USING (customer_id)
WHERE tenure_days >= $tenure
ORDER BY customer_id
"""

_COUNTED = ("tickets", "invoices", "events", "visits", "changes")


def _output(name: str) -> str:
    """Whoever has no row had no event; numbers are rounded past what any sum of floats could disagree on."""
    if name in STRINGS:
        return name
    unit = FEATURES[name][0]
    value = f"coalesce({name}, 0)" if unit in _COUNTED or name in ("overdue_amount", "logins_trend_28d") else name
    return f"round({value}::DOUBLE, 6) AS {name}"


FEATURE_QUERY = QUERY.replace("%(features)s", ", ".join(_output(name) for name in FEATURES))
"""Parameters: t (timestamp), day (its midnight), tenure (days). Ordered by customer_id."""

LABEL_QUERY = f"""
WITH {ALIVE},
endings AS (
    SELECT subscription_id, event_time, coalesce(ended_on, event_time) AS ended
    FROM subscriptions
    WHERE status = 'cancelled' AND known_at <= $now AND (replaced_at IS NULL OR replaced_at > $now)
),
next_ending AS (
    SELECT active.customer_id, active.subscription_id, min(endings.ended) AS ended
    FROM active LEFT JOIN endings
        ON endings.subscription_id = active.subscription_id AND endings.event_time > active.event_time
    GROUP BY active.customer_id, active.subscription_id
)
SELECT customer_id,
       CASE WHEN count(*) = count(ended) THEN max(ended) END AS left_at
FROM next_ending GROUP BY customer_id
"""
"""Parameters: t, now. When each customer who was active at t left for the first time after it, as known at `now`."""
