"""What models say on their own account: scores, recommendations, retention plans, monitoring, shadow answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004_decisions"
down_revision = "0003_quarantine_once"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "monitor_reports",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("as_of", sa.DateTime(), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("flow_run", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_monitor_reports")),
    )
    op.create_index(op.f("ix_monitor_reports_model_id"), "monitor_reports", ["model", "id"], unique=False)
    op.create_table(
        "recommendations",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.Column("git_commit", sa.String(length=64), nullable=True),
        sa.Column("product", sa.String(length=256), nullable=False),
        sa.Column("segment", sa.String(length=256), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("advice", sa.JSON(), nullable=False),
        sa.Column("implemented", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("dismissed", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("measured", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("caller", sa.String(length=256), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recommendations")),
    )
    op.create_index(op.f("ix_recommendations_model_id"), "recommendations", ["model", "id"], unique=False)
    op.create_index(op.f("ix_recommendations_product_id"), "recommendations", ["product", "id"], unique=False)
    op.create_index(op.f("ix_recommendations_state_id"), "recommendations", ["state", "id"], unique=False)
    op.create_table(
        "retention_plans",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("summary", sa.JSON(), nullable=False),
        sa.Column("result", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("caller", sa.String(length=256), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retention_plans")),
    )
    op.create_index(op.f("ix_retention_plans_model_id"), "retention_plans", ["model", "id"], unique=False)
    op.create_table(
        "score_batches",
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("as_of", sa.DateTime(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("snapshot", sa.String(length=64), nullable=True),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("flow_run", sa.String(length=64), nullable=True),
        sa.Column("scored_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("model", "version", "as_of", name=op.f("pk_score_batches")),
    )
    op.create_index(op.f("ix_score_batches_model_as_of"), "score_batches", ["model", "as_of"], unique=False)
    op.create_table(
        "scores",
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("as_of", sa.DateTime(), nullable=False),
        sa.Column("entity_id", sa.String(length=256), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("output", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("model", "version", "as_of", "entity_id", name=op.f("pk_scores")),
    )
    op.create_index(op.f("ix_scores_model_as_of_label"), "scores", ["model", "as_of", "label"], unique=False)
    op.create_index(op.f("ix_scores_model_entity_id_as_of"), "scores", ["model", "entity_id", "as_of"], unique=False)
    op.create_table(
        "shadow_answers",
        sa.Column("prediction_id", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("champion", sa.Integer(), nullable=False),
        sa.Column("output", sa.JSON(), nullable=False),
        sa.Column("latency_ms", sa.Double(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("prediction_id", "version", name=op.f("pk_shadow_answers")),
    )
    op.create_index(
        op.f("ix_shadow_answers_model_version_prediction_id"),
        "shadow_answers",
        ["model", "version", "prediction_id"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_shadow_answers_model_version_prediction_id"), table_name="shadow_answers")
    op.drop_table("shadow_answers")
    op.drop_index(op.f("ix_scores_model_entity_id_as_of"), table_name="scores")
    op.drop_index(op.f("ix_scores_model_as_of_label"), table_name="scores")
    op.drop_table("scores")
    op.drop_index(op.f("ix_score_batches_model_as_of"), table_name="score_batches")
    op.drop_table("score_batches")
    op.drop_index(op.f("ix_retention_plans_model_id"), table_name="retention_plans")
    op.drop_table("retention_plans")
    op.drop_index(op.f("ix_recommendations_state_id"), table_name="recommendations")
    op.drop_index(op.f("ix_recommendations_product_id"), table_name="recommendations")
    op.drop_index(op.f("ix_recommendations_model_id"), table_name="recommendations")
    op.drop_table("recommendations")
    op.drop_index(op.f("ix_monitor_reports_model_id"), table_name="monitor_reports")
    op.drop_table("monitor_reports")
