"""What evidence says beside its class has a column of its own; until now it was read from the beginning of the text."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

BEGINNINGS = {"the server answers elsewhere": "stands", "login refused": "login-refused"}


def upgrade() -> None:
    with op.batch_alter_table("evidence") as table:
        table.add_column(sa.Column("sign", sa.Text(), nullable=False, server_default=""))
    evidence = sa.table("evidence", sa.column("text", sa.Text()), sa.column("sign", sa.Text()))
    for begin, sign in BEGINNINGS.items():
        op.execute(sa.update(evidence).where(evidence.c.text.startswith(begin)).values(sign=sign))


def downgrade() -> None:
    with op.batch_alter_table("evidence") as table:
        table.drop_column("sign")
