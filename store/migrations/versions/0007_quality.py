"""Scores of answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007_quality"
down_revision = "0006_spend"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "llm_scores",
        sa.Column("call_id", sa.String(length=32), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("workspace", sa.String(length=256), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("scorer", sa.String(length=64), nullable=False),
        sa.Column("features", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("call_id", name=op.f("pk_llm_scores")),
    )
    op.create_index(op.f("ix_llm_scores_workspace_at"), "llm_scores", ["workspace", "at"], unique=False)


def downgrade() -> None:
    op.drop_table("llm_scores")
