"""The gateway: workspaces, the ledger of calls and what was said, budgets, conversations, files, batches, feedback."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005_gateway"
down_revision = "0004_decisions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("actor", sa.String(length=256), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("workspace", sa.String(length=256), nullable=True),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=256), nullable=True),
        sa.Column("before", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("after", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_audit_log_workspace_id"), "audit_log", ["workspace", "id"], unique=False)
    op.create_table(
        "budget_alerts",
        sa.Column("budget_id", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=256), nullable=False),
        sa.Column("period_start", sa.String(length=10), nullable=False),
        sa.Column("threshold", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("spent", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("budget_id", "subject", "period_start", "threshold", name=op.f("pk_budget_alerts")),
    )
    op.create_table(
        "budgets",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=256), nullable=False),
        sa.Column("workspace", sa.String(length=256), nullable=False),
        sa.Column("period", sa.String(length=16), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.Column("created_by", sa.String(length=256), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budgets")),
        sa.UniqueConstraint(
            "scope", "subject", "workspace", "period", name=op.f("uq_budgets_scope_subject_workspace_period")
        ),
    )
    op.create_index(op.f("ix_budgets_workspace"), "budgets", ["workspace"], unique=False)
    op.create_table(
        "llm_batches",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("workspace", sa.String(length=256), nullable=False),
        sa.Column("key_name", sa.String(length=256), nullable=True),
        sa.Column("tenant", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("endpoint", sa.String(length=64), nullable=False),
        sa.Column("input_file", sa.String(length=40), nullable=False),
        sa.Column("output_file", sa.String(length=40), nullable=True),
        sa.Column("error_file", sa.String(length=40), nullable=True),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("completed", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.Column("claimed_by", sa.String(length=64), nullable=True),
        sa.Column("claimed_until", sa.DateTime(), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=True),
        sa.Column("finished_at", sa.DateTime(), nullable=True),
        sa.Column("expires_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_llm_batches")),
    )
    op.create_index(op.f("ix_llm_batches_status_priority"), "llm_batches", ["status", "priority"], unique=False)
    op.create_index(op.f("ix_llm_batches_workspace_id"), "llm_batches", ["workspace", "id"], unique=False)
    op.create_table(
        "llm_calls",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("organisation", sa.String(length=256), nullable=False),
        sa.Column("workspace", sa.String(length=256), nullable=False),
        sa.Column("project", sa.String(length=256), nullable=True),
        sa.Column("user_name", sa.String(length=256), nullable=True),
        sa.Column("key_id", sa.String(length=32), nullable=True),
        sa.Column("key_name", sa.String(length=256), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("asked", sa.String(length=256), nullable=False),
        sa.Column("strategy", sa.String(length=32), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=True),
        sa.Column("provider", sa.String(length=256), nullable=True),
        sa.Column("input_tokens", sa.Integer(), nullable=False),
        sa.Column("cached_tokens", sa.Integer(), nullable=False),
        sa.Column("cache_write_tokens", sa.Integer(), nullable=False),
        sa.Column("output_tokens", sa.Integer(), nullable=False),
        sa.Column("reasoning_tokens", sa.Integer(), nullable=False),
        sa.Column("audio_input_tokens", sa.Integer(), nullable=False),
        sa.Column("audio_output_tokens", sa.Integer(), nullable=False),
        sa.Column("estimated", sa.Boolean(), nullable=False),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.Column("latency_ms", sa.Float(), nullable=False),
        sa.Column("first_token_ms", sa.Float(), nullable=True),
        sa.Column("overhead_ms", sa.Float(), nullable=True),
        sa.Column("stream", sa.Boolean(), nullable=False),
        sa.Column("error", sa.String(length=64), nullable=True),
        sa.Column("finish_reason", sa.String(length=32), nullable=True),
        sa.Column("complexity", sa.String(length=16), nullable=True),
        sa.Column("domain", sa.String(length=32), nullable=True),
        sa.Column("confidence", sa.Float(), nullable=True),
        sa.Column("propensity", sa.Float(), nullable=False),
        sa.Column("explored", sa.Boolean(), nullable=False),
        sa.Column("policy", sa.String(length=256), nullable=True),
        sa.Column("cache", sa.String(length=16), nullable=True),
        sa.Column("parent", sa.String(length=32), nullable=True),
        sa.Column("conversation", sa.String(length=64), nullable=True),
        sa.Column("batch", sa.String(length=64), nullable=True),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("quality", sa.Float(), nullable=True),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("attempts", sa.JSON(), nullable=False),
        sa.Column("decision", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("extra", sa.JSON(none_as_null=True), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_llm_calls")),
        sa.UniqueConstraint("id", name=op.f("uq_llm_calls_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_llm_calls_at"), "llm_calls", ["at"], unique=False)
    op.create_index(op.f("ix_llm_calls_parent"), "llm_calls", ["parent"], unique=False)
    op.create_index(op.f("ix_llm_calls_workspace_at"), "llm_calls", ["workspace", "at"], unique=False)
    op.create_table(
        "llm_contents",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("workspace", sa.String(length=256), nullable=False),
        sa.Column("user_name", sa.String(length=256), nullable=True),
        sa.Column("key_id", sa.String(length=16), nullable=True),
        sa.Column("prompt", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_llm_contents")),
    )
    op.create_index(op.f("ix_llm_contents_workspace_at"), "llm_contents", ["workspace", "at"], unique=False)
    op.create_index(
        op.f("ix_llm_contents_workspace_user_name"), "llm_contents", ["workspace", "user_name"], unique=False
    )
    op.create_table(
        "llm_conversations",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("workspace", sa.String(length=256), nullable=False),
        sa.Column("key_name", sa.String(length=256), nullable=True),
        sa.Column("user_name", sa.String(length=256), nullable=True),
        sa.Column("title", sa.String(length=256), nullable=True),
        sa.Column("model", sa.String(length=256), nullable=True),
        sa.Column("in_tool_loop", sa.Boolean(), nullable=False),
        sa.Column("turns", sa.Integer(), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=True),
        sa.Column("messages", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_llm_conversations")),
    )
    op.create_index(
        op.f("ix_llm_conversations_workspace_updated_at"),
        "llm_conversations",
        ["workspace", "updated_at"],
        unique=False,
    )
    op.create_table(
        "llm_feedback",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("call_id", sa.String(length=32), nullable=False),
        sa.Column("workspace", sa.String(length=256), nullable=False),
        sa.Column("user_name", sa.String(length=256), nullable=True),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("reported_by", sa.String(length=256), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_llm_feedback")),
    )
    op.create_index(op.f("ix_llm_feedback_call_id"), "llm_feedback", ["call_id"], unique=False)
    op.create_index(op.f("ix_llm_feedback_workspace_at"), "llm_feedback", ["workspace", "at"], unique=False)
    op.create_table(
        "llm_files",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("workspace", sa.String(length=256), nullable=False),
        sa.Column("key_name", sa.String(length=256), nullable=True),
        sa.Column("user_name", sa.String(length=256), nullable=True),
        sa.Column("filename", sa.String(length=256), nullable=False),
        sa.Column("purpose", sa.String(length=32), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_llm_files")),
    )
    op.create_index(op.f("ix_llm_files_workspace_id"), "llm_files", ["workspace", "id"], unique=False)
    op.create_table(
        "llm_preferences",
        sa.Column("workspace", sa.String(length=256), nullable=False),
        sa.Column("user_name", sa.String(length=256), nullable=False),
        sa.Column("preferences", sa.JSON(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "user_name", name=op.f("pk_llm_preferences")),
    )
    op.create_table(
        "llm_usage_days",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("organisation", sa.String(length=256), nullable=False),
        sa.Column("workspace", sa.String(length=256), nullable=False),
        sa.Column("project", sa.String(length=256), nullable=True),
        sa.Column("user_name", sa.String(length=256), nullable=True),
        sa.Column("key_id", sa.String(length=32), nullable=True),
        sa.Column("key_name", sa.String(length=256), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("strategy", sa.String(length=32), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=True),
        sa.Column("provider", sa.String(length=256), nullable=True),
        sa.Column("complexity", sa.String(length=16), nullable=True),
        sa.Column("domain", sa.String(length=32), nullable=True),
        sa.Column("cache", sa.String(length=16), nullable=True),
        sa.Column("estimated", sa.Boolean(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache_write_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), nullable=False),
        sa.Column("audio_input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("audio_output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.Column("latency_ms", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_llm_usage_days")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_llm_usage_days_workspace_at"), "llm_usage_days", ["workspace", "at"], unique=False)
    op.create_table(
        "workspaces",
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("organisation", sa.String(length=256), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_workspaces")),
    )
    op.create_table(
        "llm_batch_lines",
        sa.Column("batch_id", sa.String(length=40), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("custom_id", sa.String(length=256), nullable=False),
        sa.Column("user_name", sa.String(length=256), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("call_id", sa.String(length=32), nullable=True),
        sa.Column("key_id", sa.String(length=16), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["batch_id"], ["llm_batches.id"], name=op.f("fk_llm_batch_lines_batch_id_llm_batches")),
        sa.PrimaryKeyConstraint("batch_id", "line", name=op.f("pk_llm_batch_lines")),
    )
    op.add_column("api_keys", sa.Column("workspace", sa.String(length=256), nullable=True))
    op.add_column("api_keys", sa.Column("project", sa.String(length=256), nullable=True))
    op.add_column("api_keys", sa.Column("requests_per_minute", sa.Integer(), nullable=True))
    op.add_column("api_keys", sa.Column("tokens_per_minute", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("api_keys", "workspace")
    op.drop_column("api_keys", "project")
    op.drop_column("api_keys", "requests_per_minute")
    op.drop_column("api_keys", "tokens_per_minute")
    op.drop_table("llm_batch_lines")
    op.drop_table("workspaces")
    op.drop_table("llm_usage_days")
    op.drop_table("llm_preferences")
    op.drop_table("llm_files")
    op.drop_table("llm_feedback")
    op.drop_table("llm_conversations")
    op.drop_table("llm_contents")
    op.drop_table("llm_calls")
    op.drop_table("llm_batches")
    op.drop_table("budgets")
    op.drop_table("budget_alerts")
    op.drop_table("audit_log")
