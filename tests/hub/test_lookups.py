"""What the hub reads of a person whom it looks up."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from jupyterhub import orm
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from nexus_allocator.hub.lookups import look_people_up_lightly, read_when_asked_for


@pytest.fixture
def session() -> Iterator[Session]:
    """A session of the hub's own, with one person in a group that has a role."""
    look_people_up_lightly()
    look_people_up_lightly()
    with closing(orm.new_session_factory("sqlite:///:memory:")()) as session:
        role, group, person = orm.Role(name="r"), orm.Group(name="g"), orm.User(name="astronomer")
        group.roles.append(role)
        person.groups.append(group)
        session.add(person)
        session.commit()
        engine = session.get_bind()
        yield session
    engine.dispose()
    event.remove(Session, "do_orm_execute", read_when_asked_for)


@pytest.fixture
def read(session: Session) -> Iterator[list[str]]:
    """The tables from which is read."""
    tables: list[str] = []

    def note(connection: object, cursor: object, statement: str, *more: object) -> None:
        if " FROM " in " ".join(statement.split()):
            tables.append(" ".join(statement.split()).split(" FROM ")[1].split()[0].rstrip(","))

    event.listen(Engine, "before_cursor_execute", note)
    yield tables
    event.remove(Engine, "before_cursor_execute", note)


def test_who_is_known_is_looked_up_by_one_statement(session: Session, read: list[str]) -> None:
    person = orm.User.find(session, "astronomer")
    assert person is not None
    by_cookie = session.query(orm.User).filter(orm.User.cookie_id == person.cookie_id).first()
    assert by_cookie is person
    assert read == ["users", "users"]


def test_what_is_not_known_of_a_person_is_read_when_asked_for(session: Session, read: list[str]) -> None:
    session.expunge_all()
    person = orm.User.find(session, "astronomer")
    assert person is not None
    assert read == ["users"]
    assert [role.name for group in person.groups for role in group.roles] == ["r"]
    assert person.roles == person.shared_with_me == []
    number = len(read)
    assert orm.User.find(session, "astronomer").groups == person.groups  # type: ignore[union-attr]
    assert len(read) == number + 1


def test_a_list_of_people_is_read_with_all_that_is_theirs(session: Session, read: list[str]) -> None:
    session.expunge_all()
    (person,) = session.query(orm.User).filter(orm.User.name.in_(["astronomer"])).all()
    number = len(read)
    assert number > 1
    assert [group.name for group in person.groups] == ["g"]
    assert len(read) == number
    assert orm.User.find(session, "nobody") is None
