"""Schemathesis over the whole OpenAPI: no 5xx, and every answer is one that the schema tells of.

Short here; ``SCHEMATHESIS_EXAMPLES`` makes it long, as `make bench` does.
"""

import os
from collections import Counter
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import checks
from tests.support.allocator import HUB_TOKEN, INTERNAL_TOKEN, World, served
from tests.support.postgres import free_port

from nexus_allocator.config import Settings
from nexus_allocator.main import create_app
from nexus_allocator.policy import load_policy
from nexus_allocator.store import schema as database_schema
from nexus_allocator.store.session import Database

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "12"))
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
COUNTED: Counter[str] = Counter()
KNOWN = {"hub_name": "ada", "server_name": "-", "account": "grism", "size": "small", "image": "nexus"}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The service over a database with two people, a team and a running server."""
    url = f"sqlite:///{tmp_path_factory.mktemp('openapi')}/allocator.sqlite"
    database = Database(url)
    database_schema.upgrade(database)
    world = World(database)
    for name in ("ada", "ben"):
        world.astronomer(name)
    world.team("grism", "ada", "ben")
    world.started(world.launch("ada").hold_id)
    app = create_app(
        Settings(
            database_url=url, hub_api_url=f"http://127.0.0.1:{free_port()}/hub/api", hub_token=HUB_TOKEN,
            internal_token=INTERNAL_TOKEN, worker_threads=4,
        ),  # type: ignore[arg-type]
        load_policy(),
    )  # fmt: skip
    with served(app) as base:
        yield base
    app.state.portal.sign_in.close()
    app.state.portal.hub.close()
    app.state.context.database.dispose()
    database.dispose()
    print(f"schemathesis: {COUNTED.total()} requests, {dict(COUNTED)}")


def test_every_answer_is_one_that_the_schema_tells_of(address: str) -> None:
    described = schemathesis.openapi.from_url(f"{address}/services/nexus/api/openapi.json")
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) >= 10
    for operation in operations:

        @settings(
            max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
        )
        @given(case=operation.as_strategy(), known=st.booleans())
        def asked(case: schemathesis.Case, known: bool) -> None:
            if known:
                about_somebody(case)
            answer = case.call(headers={"Authorization": f"Bearer {INTERNAL_TOKEN}"})
            COUNTED[f"{answer.status_code}"] += 1
            case.validate_response(answer, checks=CHECKS)

        asked()


def about_somebody(case: schemathesis.Case) -> None:
    """Let the request be about who is there: of random names it would only learn that nobody is."""
    for words in (case.path_parameters, case.body):
        if isinstance(words, dict):
            words.update({name: value for name, value in KNOWN.items() if name in words})
