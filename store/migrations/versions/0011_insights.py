"""Questions about the platform's own numbers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011_insights"
down_revision = "0010_tuning"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "llm_insights",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("workspace", sa.String(length=256), nullable=True),
        sa.Column("asked_in", sa.String(length=256), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("kept", sa.Integer(), nullable=False),
        sa.Column("removed", sa.Integer(), nullable=False),
        sa.Column("rows_shown", sa.Integer(), nullable=False),
        sa.Column("agreement", sa.Double(), nullable=False),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.Column("members", sa.JSON(), nullable=False),
        sa.Column("people", sa.JSON(), nullable=False),
        sa.Column("caller", sa.String(length=256), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_llm_insights")),
    )
    op.create_index(op.f("ix_llm_insights_asked_in"), "llm_insights", ["asked_in"], unique=False)
    op.create_index(op.f("ix_llm_insights_workspace_id"), "llm_insights", ["workspace", "id"], unique=False)


def downgrade() -> None:
    op.drop_table("llm_insights")
