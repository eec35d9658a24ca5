"""A quarter of purges, day by day: warned, taken, one folder back with a click, the rest gone."""

import pytest
from tests.support.quarter import FOLDERS_PER_RUN, PER_FOLDER, Outcome, figures, lived, played

from nexus_allocator.domain.purges import PurgeState

pytestmark = pytest.mark.browser
# The whole, of 200,000, is `python -m tests.bench.purged_quarter`.
N_FILES = 10_000


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    with lived(tmp_path_factory.mktemp("quarter")) as quarter:
        found = played(quarter, N_FILES)
        print(figures(quarter))
    return found


def test_the_rest_of_the_plan_is_deleted_and_what_was_restored_stays(outcome: Outcome) -> None:
    kept = PER_FOLDER * FOLDERS_PER_RUN
    assert (len(outcome.planned), len(outcome.deleted), outcome.restored) == (N_FILES, N_FILES - kept, kept)
    assert not any(b"/run-003/" in path for path in outcome.deleted)
    assert outcome.before.keys() - outcome.after.keys() == outcome.deleted


def test_nothing_outside_the_plan_and_nothing_restored_was_changed(outcome: Outcome) -> None:
    # Checksums, rights, owners, times and attributes; what is in hand is touched by its owner.
    stays = {
        path: entry
        for path, entry in outcome.before.items()
        if path not in outcome.deleted and b"/in-hand/" not in path
    }
    assert {path: outcome.after.get(path) for path in stays} == stays
    assert outcome.after.keys() <= outcome.before.keys()


def test_the_signed_log_proves_it_and_that_its_owner_was_told(outcome: Outcome) -> None:
    assert outcome.told == ["astronomer"]
    assert outcome.heads_agree
    order = list(dict.fromkeys(outcome.whats))
    wanted = [
        "planned",
        "noticed",
        "quarantining",
        "quarantined",
        "restored",
        "deleting",
        "deleted",
        "finished",
    ]
    assert order == wanted


def test_of_who_has_a_running_server_all_quarter_nothing_is_taken(outcome: Outcome) -> None:
    assert outcome.of_who_works is PurgeState.ANNOUNCED
