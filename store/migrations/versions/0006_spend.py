"""What the platform says about its bill: anomalies of spending, recommendations, the scorecard."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006_spend"
down_revision = "0005_gateway"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "scorecards",
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("measure", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("low", sa.Double(), nullable=True),
        sa.Column("high", sa.Double(), nullable=True),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("day", "measure", name=op.f("pk_scorecards")),
    )
    op.create_table(
        "spend_anomalies",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("workspace", sa.String(length=256), nullable=True),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=600), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=False),
        sa.Column("ended_at", sa.DateTime(), nullable=False),
        sa.Column("ongoing", sa.Boolean(), nullable=False),
        sa.Column("excess", sa.BigInteger(), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("decided", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("found_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_spend_anomalies")),
    )
    op.create_index(op.f("ix_spend_anomalies_started_at"), "spend_anomalies", ["started_at"], unique=False)
    op.create_index(
        op.f("ix_spend_anomalies_workspace_started_at"), "spend_anomalies", ["workspace", "started_at"], unique=False
    )
    op.create_table(
        "spend_recommendations",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("fingerprint", sa.String(length=32), nullable=False),
        sa.Column("workspace", sa.String(length=256), nullable=True),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("saving", sa.BigInteger(), nullable=False),
        sa.Column("advice", sa.JSON(), nullable=False),
        sa.Column("accepted", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("dismissed", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("measured", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("reverted", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_spend_recommendations")),
    )
    op.create_index(
        op.f("ix_spend_recommendations_workspace_id"), "spend_recommendations", ["workspace", "id"], unique=False
    )
    op.create_index(op.f("ix_spend_recommendations_state_id"), "spend_recommendations", ["state", "id"], unique=False)
    op.create_index(
        "uq_spend_recommendations_proposed",
        "spend_recommendations",
        ["fingerprint"],
        unique=True,
        sqlite_where=sa.text("state = 'proposed'"),
        postgresql_where=sa.text("state = 'proposed'"),
    )


def downgrade() -> None:
    for name in ("spend_recommendations", "spend_anomalies", "scorecards"):
        op.drop_table(name)
