"""The ledger of what came home from secondaries."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "homecoming",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("mailbox", sa.Text(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=True),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("internal_at", sa.Text(), nullable=False),
        sa.Column("to_mailbox", sa.Text(), nullable=False),
        sa.Column("to_folder", sa.Text(), nullable=False),
        sa.Column("sent", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("uid_validity", sa.BigInteger(), nullable=True),
        sa.Column("uid", sa.BigInteger(), nullable=True),
        sa.Column("intended_at", sa.Text(), nullable=True),
        sa.Column("settled_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_homecoming")),
    )
    once = ["domain", "message", "mailbox", "to_mailbox", "sent"]
    op.create_index("uq_homecoming_message", "homecoming", once, unique=True)
    op.create_index("ix_homecoming_content", "homecoming", ["domain", "to_mailbox", "content"], unique=False)
    op.create_index("ix_homecoming_state", "homecoming", ["domain", "state", "settled_at"], unique=False)


def downgrade() -> None:
    op.drop_table("homecoming")
