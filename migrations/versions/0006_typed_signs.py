"""Evidence has any number of signs, and what was wrong with TLS; until now most of them were read from its text."""

import sqlalchemy as sa
from alembic import op

from failsafe.store.earlier import with_signs

revision = "0006"
down_revision = "0005"

EVIDENCE = sa.table(
    "evidence",
    sa.column("id", sa.Integer()),
    sa.column("seen", sa.Text()),
    sa.column("text", sa.Text()),
    sa.column("sign", sa.Text()),
    sa.column("signs", sa.Text()),
    sa.column("tls_fault", sa.Text()),
)


def upgrade() -> None:
    with op.batch_alter_table("evidence") as table:
        table.add_column(sa.Column("signs", sa.Text(), nullable=False, server_default=""))
        table.add_column(sa.Column("tls_fault", sa.Text(), nullable=False, server_default=""))
    connection, columns = op.get_bind(), EVIDENCE.c
    rows = connection.execute(sa.select(columns.id, columns.seen, columns.text, columns.sign)).mappings().all()
    told = (with_signs(row) for row in rows)  # at most store/history.py's ROWS_KEPT and their like
    found = [{"number": row["id"], "signs": row["signs"], "tls_fault": row["tls_fault"]} for row in told if row["signs"]]
    if found:
        change = sa.update(EVIDENCE).where(columns.id == sa.bindparam("number"))
        connection.execute(change, found)
    with op.batch_alter_table("evidence") as table:
        table.drop_column("sign")


def downgrade() -> None:
    with op.batch_alter_table("evidence") as table:
        table.add_column(sa.Column("sign", sa.Text(), nullable=False, server_default=""))
    for sign in ("stands", "answered", "login-refused"):
        op.execute(sa.update(EVIDENCE).where(EVIDENCE.c.signs.contains(sign)).values(sign=sign))
    with op.batch_alter_table("evidence") as table:
        table.drop_column("signs")
        table.drop_column("tls_fault")
