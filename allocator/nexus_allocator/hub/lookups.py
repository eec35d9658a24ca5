"""JupyterHub's look-ups of one person, of which there are nine in a launch, without what they read in vain.

With each, SQLAlchemy reads the person's roles, groups and shares, and those of the groups, in five more
statements, and throws them away where the person is known to the session already. Read when first asked
for, they are read once.
"""

from operator import eq

from jupyterhub import orm
from sqlalchemy import event
from sqlalchemy.orm import ORMExecuteState, Session, lazyload
from sqlalchemy.sql.elements import BinaryExpression

UNIQUE = frozenset({"id", "name", "cookie_id"})
WHEN_ASKED_FOR = tuple(map(lazyload, (orm.User.roles, orm.User.groups, orm.User.shared_with_me)))


def read_when_asked_for(state: ORMExecuteState) -> None:
    """Change a statement that looks one person up; lists of people stay as JupyterHub asks for them."""
    if not state.is_select or state.is_relationship_load or state.is_column_load:
        return
    condition = getattr(state.statement, "whereclause", None)
    if not isinstance(condition, BinaryExpression) or condition.operator is not eq:
        return
    (asked_for, *more) = state.statement.column_descriptions  # type: ignore[attr-defined]
    if asked_for["expr"] is orm.User and not more and getattr(condition.left, "key", None) in UNIQUE:
        state.statement = state.statement.options(*WHEN_ASKED_FOR)


def look_people_up_lightly() -> None:
    """Do so in every session of this process."""
    if not event.contains(Session, "do_orm_execute", read_when_asked_for):
        event.listen(Session, "do_orm_execute", read_when_asked_for)
