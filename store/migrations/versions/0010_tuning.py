"""Benchmarks of models, fine-tuning, and tuned models."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010_tuning"
down_revision = "0007_quality"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "llm_benchmarks",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("workspace", sa.String(length=256), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("models", sa.JSON(), nullable=False),
        sa.Column("prompts", sa.Integer(), nullable=False),
        sa.Column("repeats", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.Column("expected", sa.BigInteger(), nullable=False),
        sa.Column("max_cost", sa.BigInteger(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("report", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_by", sa.String(length=256), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.Column("finished_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_llm_benchmarks")),
    )
    op.create_index(op.f("ix_llm_benchmarks_workspace_id"), "llm_benchmarks", ["workspace", "id"], unique=False)
    op.create_table(
        "llm_finetunes",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("workspace", sa.String(length=256), nullable=True),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("base_model", sa.String(length=256), nullable=False),
        sa.Column("task", sa.String(length=256), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("examples", sa.JSON(), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("tenant", sa.JSON(), nullable=False),
        sa.Column("expected", sa.BigInteger(), nullable=False),
        sa.Column("max_cost", sa.BigInteger(), nullable=True),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.Column("upstream", sa.JSON(), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("report", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("claimed_by", sa.String(length=64), nullable=True),
        sa.Column("claimed_until", sa.DateTime(), nullable=True),
        sa.Column("created_by", sa.String(length=256), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.Column("submitted_at", sa.DateTime(), nullable=True),
        sa.Column("finished_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_llm_finetunes")),
    )
    op.create_index(op.f("ix_llm_finetunes_state"), "llm_finetunes", ["state"], unique=False)
    op.create_index(op.f("ix_llm_finetunes_workspace_id"), "llm_finetunes", ["workspace", "id"], unique=False)
    op.create_table(
        "llm_benchmark_results",
        sa.Column("benchmark_id", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("prompt", sa.Integer(), nullable=False),
        sa.Column("repeat", sa.Integer(), nullable=False),
        sa.Column("prompt_id", sa.String(length=256), nullable=False),
        sa.Column("group_name", sa.String(length=256), nullable=False),
        sa.Column("domain", sa.String(length=32), nullable=True),
        sa.Column("call_id", sa.String(length=32), nullable=True),
        sa.Column("answered_by", sa.String(length=256), nullable=True),
        sa.Column("quality", sa.Float(), nullable=False),
        sa.Column("scored_by", sa.String(length=64), nullable=False),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.Column("latency_ms", sa.Float(), nullable=True),
        sa.Column("input_tokens", sa.Integer(), nullable=False),
        sa.Column("output_tokens", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(
            ["benchmark_id"], ["llm_benchmarks.id"], name=op.f("fk_llm_benchmark_results_benchmark_id_llm_benchmarks")
        ),
        sa.PrimaryKeyConstraint("benchmark_id", "model", "prompt", "repeat", name=op.f("pk_llm_benchmark_results")),
    )
    op.create_table(
        "llm_tuned_models",
        sa.Column("id", sa.String(length=256), nullable=False),
        sa.Column("base_model", sa.String(length=256), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("workspaces", sa.JSON(), nullable=False),
        sa.Column("quality", sa.JSON(), nullable=False),
        sa.Column("finetune_id", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["finetune_id"], ["llm_finetunes.id"], name=op.f("fk_llm_tuned_models_finetune_id_llm_finetunes")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_llm_tuned_models")),
    )


def downgrade() -> None:
    for name in ("llm_tuned_models", "llm_benchmark_results", "llm_finetunes", "llm_benchmarks"):
        op.drop_table(name)
