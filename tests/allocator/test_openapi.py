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
from tests.support.allocator import INTERNAL_TOKEN, World
from tests.support.api import Api, running_api, with_a_panel, with_people
from tests.support.fake_hub import running_hub

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
KNOWN = {"hub_name": "mia", "server_name": "-", "account": "grism", "size": "small", "image": "nexus",
         "slug": "grism", "whom": "guest", "tier": "research"}  # fmt: skip
IDS = ("subgroup_id", "invitation_id", "request_id", "notice_id", "announcement_id", "event_id", "code",
       "round_id", "question_id", "purge_id", "exemption_id")  # fmt: skip


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The service over a database with people, a team, requests, invitations and running servers."""
    url = f"sqlite:///{tmp_path_factory.mktemp('openapi')}/allocator.sqlite"
    database = Database(url)
    database_schema.upgrade(database)
    with running_hub() as hub, running_api(World(database), hub, url) as running:
        with_people(running)
        with_a_panel(running)
        yield running
    database.dispose()
    print(f"schemathesis: {COUNTED.total()} requests, {dict(COUNTED)}")


def test_every_answer_is_one_that_the_schema_tells_of(api: Api) -> None:
    """As the services on their routes, and on those of people as an administrator and as a lead."""
    described = schemathesis.openapi.from_url(f"{api.address}/services/nexus/api/openapi.json")
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) >= 110
    people = [f"token {api.token(name)}" for name in ("ada", "alex", "rae")]
    known_ids = {name: api.words[name] for name in IDS}
    before_the_panel = known_ids | {"request_id": api.words["case_id"]}
    for operation in operations:
        tokens = people if "/api/v1/" in operation.path else [f"Bearer {INTERNAL_TOKEN}"]

        @settings(
            max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
        )
        @given(case=operation.as_strategy(), known=st.booleans(), token=st.sampled_from(tokens))
        def asked(case: schemathesis.Case, known: bool, token: str) -> None:
            if known:
                ids = before_the_panel if "/panel/" in case.operation.path else known_ids
                about_somebody(case, KNOWN | ids)
            answer = case.call(headers={"Authorization": token})
            COUNTED[f"{answer.status_code}"] += 1
            case.validate_response(answer, checks=CHECKS)

        asked()
    print(f"schemathesis: {len(operations)} operations")


def about_somebody(case: schemathesis.Case, known: dict[str, str]) -> None:
    """Let the request be about who is there: of random names it would only learn that nobody is."""
    for words in (case.path_parameters, case.body):
        if isinstance(words, dict):
            words.update({name: value for name, value in known.items() if name in words})
