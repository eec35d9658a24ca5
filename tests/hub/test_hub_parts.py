"""The hub’s small parts on plain values: options, form, homes, processes, control groups, settings."""

import asyncio
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.support.fake_allocator import CREDIT, SIZES

from nexus_allocator.embedded.commands import find_node
from nexus_allocator.embedded.settings import BadSetting, read_settings, unknown_settings
from nexus_allocator.hub import confinement, start_lab
from nexus_allocator.hub.launch_form import credits_text, render_form
from nexus_allocator.hub.options import read_form, read_options
from nexus_allocator.hub.processes import began_at, is_alive, watch_end
from nexus_allocator.hub.refusals import refusal

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def model(**changes: Any) -> dict[str, Any]:
    account = {
        "slug": "ada",
        "label": "Your own account",
        "available_micro": 2 * CREDIT,
        "held_micro": 0,
        "expires_at": "2027-11-20T00:00:00+00:00",
        "burn": {"credits_per_day": 0, "runs_out_on": None},
        "sizes": [SIZES["small"]],
    }
    team = {
        **account,
        "slug": "team",
        "label": "A team",
        "available_micro": 5000 * CREDIT,
        "sizes": list(SIZES.values()),
    }
    return {
        "agreement": {"version": "1", "title": "Rules", "text_html": "<p>Be kind.</p>", "accepted": True},
        "accounts": [account, team],
        "images": [{"slug": "nexus", "label": "Nexus", "default": True}],
        "hours": {"min": 0.25, "max": 24, "step": 0.25, "default": 2},
        "grace_minutes": 10,
        "confinement": "Reserved, not confined.",
        "last_stop": None,
        "can_request": True,
        **changes,
    }


def checked(html: str) -> list[str]:
    radios = re.findall(r"<input type=\"radio\"[^>]*>", html)
    return [re.search(r'value="([^"]+)"', radio)[1] for radio in radios if "checked" in radio]  # type: ignore[index]


# -- the form


def test_the_form_says_what_the_default_choice_costs_before_any_script_runs() -> None:
    html = render_form(model(), {}, NOW)
    # 0.125 credits/h for 2 h and 10 min to save; 2 credits last 16 hours.
    assert '<span data-figure="hold">0.28</span>' in html
    assert '<span data-figure="left">1.72</span>' in html
    assert "21 November 2026" in html
    assert checked(html) == ["ada", "small", "small"]


def test_the_form_tells_of_the_days_of_grace_and_that_they_cost_nothing() -> None:
    account = model()["accounts"][0]
    free = {**SIZES["small"], "credits_per_hour_micro": 0}
    ended = {**account, "expires_at": "2026-11-01T00:00:00+00:00", "sizes": [free], "read_only_minutes": 90}
    html = render_form(model(accounts=[ended]), {}, NOW)
    assert "You may read and download for 1.5 h more, paid by the platform" in html
    assert '<span data-figure="hold">0.00</span>' in html


def test_the_form_offers_each_account_only_its_own_sizes() -> None:
    html = render_form(model(), {}, NOW)
    assert re.findall(r'name="size-ada" value="(\w+)"', html) == ["small"]
    assert re.findall(r'name="size-team" value="(\w+)"', html) == ["small", "medium", "large"]


def test_a_last_choice_no_longer_offered_gives_way_to_the_default() -> None:
    html = render_form(model(), {"account": "gone", "size": "huge", "hours": "600"}, NOW)
    assert checked(html)[0] == "ada"
    assert 'value="2"' in html


def test_a_last_choice_still_offered_is_kept() -> None:
    html = render_form(model(), {"account": "team", "size": "large", "hours": "4.5"}, NOW)
    assert checked(html) == ["team", "small", "large"]
    assert 'value="4.5"' in html


def test_only_the_agreement_is_shown_until_it_is_accepted() -> None:
    agreement = {"version": "1", "title": "Rules", "text_html": "<p>Be kind.</p>", "accepted": False}
    html = render_form(model(agreement=agreement, accounts=[]), {}, NOW)
    assert "<p>Be kind.</p>" in html
    assert "Who pays?" not in html


def test_sizes_that_wait_and_accounts_that_run_dry_are_told_before_the_choice() -> None:
    brake = {"sizes": ["medium", "large"], "sentence": "The budget goes too fast.", "until": NOW.isoformat()}
    warned = model(brake=brake)
    warned["accounts"][0]["notice"] = "75 % of the award is used."
    html = render_form(warned, {}, NOW)
    assert html.count(">Waiting</span>") == 2, "Medium and Large of the team"
    assert "The budget goes too fast. Until then the sizes marked as waiting" in html
    assert "<strong>Your own account:</strong> 75 % of the award is used." in html
    assert "Waiting" not in render_form(model(), {}, NOW)


def test_a_size_s_gpus_are_told() -> None:
    with_gpu = model()
    with_gpu["accounts"][0]["sizes"] = [{**SIZES["small"], "gpu": 2}]
    assert "2 CPUs, 4 GiB, 2 GPUs" in render_form(with_gpu, {}, NOW)
    assert "GPU" not in render_form(model(), {}, NOW)


def test_labels_from_the_service_are_escaped() -> None:
    html = render_form(model(confinement="<script>alert(1)</script>"), {}, NOW)
    assert "<script>" not in html


def test_why_the_last_server_stopped_is_shown() -> None:
    stop = {"sentence": "It was idle for too long.", "at": "2026-11-19T10:00:00+00:00"}
    assert "It was idle for too long." in render_form(model(last_stop=stop), {}, NOW)


@pytest.mark.parametrize(
    ("micro", "text"),
    [(0, "0.00"), (12_000, "0.012"), (270_834, "0.27"), (-1_200_000, "-1.20"), (5_000_000_000, "5,000.00")],
)
def test_credits_read_with_two_decimals_and_three_below_a_tenth(micro: int, text: str) -> None:
    assert credits_text(micro) == text


# -- the options


def test_a_posted_form_gives_four_options_and_drops_the_rest() -> None:
    form = {
        "account": ["team"],
        "size-team": ["large"],
        "size-ada": ["small"],
        "image": ["nexus"],
        "hours": ["2"],
    }
    form |= {"_xsrf": ["x"], "cpu": ["64"]}
    assert read_form(form) == {"account": "team", "size": "large", "image": "nexus", "hours": "2"}


@pytest.mark.parametrize("hours", ["", "two", "inf", "nan", None, True, [1], {"a": 1}])
def test_hours_that_are_no_number_are_refused(hours: object) -> None:
    with pytest.raises(ValueError, match="planned hours must be a number"):
        read_options({"account": "a", "size": "small", "image": "nexus", "hours": hours})


def test_missing_options_are_named() -> None:
    with pytest.raises(ValueError, match="missing: size, hours"):
        read_options({"account": "a", "image": "nexus"})


def test_a_refusal_carries_its_text_for_both_kinds_of_page() -> None:
    error: Any = refusal(None, 402, "needs 3 % <more>")
    assert error.status_code == 402
    assert error.jupyterhub_message == "needs 3 % <more>"
    assert error.jupyterhub_html_message == '<span class="nx-refusal">needs 3 % &lt;more&gt;</span>'
    assert "3 %" in str(error)


# -- the person's home


def test_missing_notebooks_are_copied_and_changed_ones_left(tmp_path: Path) -> None:
    source, target = tmp_path / "curated", tmp_path / "home"
    (source / "quickstart" / ".ipynb_checkpoints").mkdir(parents=True)
    (source / "quickstart" / "quickstart.ipynb").write_text("ours")
    (source / "quickstart" / "stars.csv").write_text("stars")
    (source / "quickstart" / ".ipynb_checkpoints" / "x").write_text("no")
    (target / "quickstart").mkdir(parents=True)
    (target / "quickstart" / "quickstart.ipynb").write_text("theirs")
    start_lab.copy_missing(source, target)
    found = {
        path.relative_to(target).as_posix(): path.read_text() for path in target.rglob("*") if path.is_file()
    }
    assert found == {"quickstart/quickstart.ipynb": "theirs", "quickstart/stars.csv": "stars"}


def test_team_links_follow_membership(tmp_path: Path) -> None:
    folder, old, new = tmp_path / "teams", tmp_path / "old", tmp_path / "new"
    start_lab.link_teams(folder, [old])
    (folder / "mine.txt").write_text("kept")
    start_lab.link_teams(folder, [new])
    assert sorted(path.name for path in folder.iterdir()) == ["mine.txt", "new"]


# -- processes


def test_a_process_id_given_out_again_is_somebody_else() -> None:
    began = began_at(os.getpid())
    assert began is not None
    assert is_alive(os.getpid(), began)
    assert not is_alive(os.getpid(), began - timedelta(minutes=1))


def test_a_zombie_is_not_alive() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    assert began_at(process.pid) is None
    process.wait()


@pytest.mark.skipif(
    not hasattr(os, "pidfd_open"), reason="the kernel tells of another process's end on Linux only"
)
def test_the_end_of_a_process_is_told_at_once() -> None:
    async def watch() -> float:
        ended = asyncio.Event()
        process = subprocess.Popen(["sleep", "60"])
        watch_end(process.pid, ended.set)
        begun = asyncio.get_running_loop().time()
        process.kill()
        await asyncio.wait_for(ended.wait(), 5)
        process.wait()
        return asyncio.get_running_loop().time() - begun

    assert asyncio.run(watch()) < 2


# -- control groups


def test_a_machine_without_writable_control_groups_only_reserves(tmp_path: Path) -> None:
    assert confinement.find_controllers(tmp_path) is None
    assert "not confined" in confinement.describe(None)


def test_first_version_controllers_are_found_and_set(tmp_path: Path) -> None:
    for name in ("cpu", "memory"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").touch()
    controllers = confinement.find_controllers(tmp_path)
    assert controllers == confinement.Controllers(1, tmp_path / "cpu", tmp_path / "memory")
    confinement.make_group(controllers, "ada", cpu=2, memory_bytes=4 * 2**30)
    assert (tmp_path / "cpu/nexus/ada/cpu.cfs_quota_us").read_text() == "200000"
    assert (tmp_path / "memory/nexus/ada/memory.limit_in_bytes").read_text() == "4294967296"


def test_second_version_controllers_need_both_delegated(tmp_path: Path) -> None:
    (tmp_path / "cgroup.subtree_control").write_text("")
    controllers = confinement.find_controllers(tmp_path)
    # A plain file keeps the "+cpu +memory" it is told; the kernel answers with names instead.
    assert controllers is None


# -- settings


def test_the_ports_are_five_neighbours() -> None:
    settings = read_settings({"NEXUS_PORT": "9000"})
    assert list(settings.ports.values()) == [9000, 9001, 9002, 9003, 9004]
    assert settings.issuer == "http://127.0.0.1:9004"


@pytest.mark.parametrize("port", ["80", "70000", "0", "-1", "8000.5"])
def test_a_port_out_of_range_is_refused(port: str) -> None:
    with pytest.raises(BadSetting, match="NEXUS_PORT="):
        read_settings({"NEXUS_PORT": port})


def test_a_misspelt_setting_is_noticed() -> None:
    given = {"NEXUS_PROT": "1", "NEXUS_METERING_INTERVAL_S": "2", "NEXUS_CACHE": "/x", "HOME": "/"}
    assert unknown_settings(given) == ["NEXUS_PROT"]


def test_a_wrapper_around_node_is_seen_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = find_node()
    wrapper = tmp_path / "node"
    wrapper.write_text(f'#!/bin/sh\n"{real}" "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert Path(find_node()).samefile(real)


def test_a_node_that_does_not_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "node"
    broken.write_text("#!/bin/sh\necho it is broken >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(BadSetting, match="it is broken"):
        find_node()


def test_a_server_with_an_object_store_finds_credentials_at_its_own_address() -> None:
    pod = {"JUPYTERHUB_SERVICE_URL": "http://0.0.0.0:8888/user/ada/", "NEXUS_LAB_TOKEN": "of-this-server"}
    assert start_lab.store_access({**pod, "NEXUS_STORE_URL": "s3://roman"}) == {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:8888/user/ada/nexus/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "of-this-server",
    }
    assert start_lab.store_access({**pod, "NEXUS_STORE_URL": "file:///srv/nexus/store"}) == {}
    assert start_lab.store_access(pod) == {}
