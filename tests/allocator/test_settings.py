"""Settings and the policy file: read once, checked, unknown names refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from nexus_allocator import policy as packaged
from nexus_allocator.config import UnknownSetting, read_settings
from nexus_allocator.domain.states import TierSlug
from nexus_allocator.policy import load_policy

TIERS = Path(packaged.__file__).with_name("tiers.yaml")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("NEXUS_DATABASE_URL", "sqlite:///x.sqlite")
    monkeypatch.setenv("NEXUS_HUB_TOKEN", "h" * 32)
    monkeypatch.setenv("NEXUS_INTERNAL_TOKEN", "i" * 32)
    return monkeypatch


def test_settings_come_from_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("NEXUS_ISSUER_ADMINS", "https://a.test|alex, nexus-admins")
    settings = read_settings()
    assert settings.issuer_admins == ("https://a.test|alex", "nexus-admins")
    assert settings.metering_interval.total_seconds() == 60
    assert "h" * 32 not in repr(settings)


def test_an_unknown_setting_is_refused_by_name(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("NEXUS_DATABASE", "sqlite:///x.sqlite")
    with pytest.raises(UnknownSetting, match="NEXUS_DATABASE"):
        read_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NEXUS_METERING_INTERVAL_S", "0"),
        ("NEXUS_SAVE_GRACE_MINUTES", "-1"),
        ("NEXUS_SERVICE_PREFIX", "services/nexus"),
        ("NEXUS_INTERNAL_TOKEN", "short"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(name, value)
    with pytest.raises(ValidationError):
        read_settings()


@pytest.mark.parametrize(
    "given",
    [
        {"HOST": "mail.test"},
        {"HOST": "mail.test", "FROM": "not an address"},
        {"HOST": "mail.test", "FROM": "a@b.test", "USER": "nexus"},
        {"HOST": "mail.test", "FROM": "a@b.test", "SECURITY": "none", "USER": "nexus", "PASSWORD": "p"},
        {"HOST": "mail.test", "FROM": "a@b.test", "PORT": "0"},
        {"SECURITY": "plain"},
    ],
)
def test_settings_of_mail_are_whole_and_send_no_password_in_the_open(
    environment: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    for name, value in given.items():
        environment.setenv(f"NEXUS_MAIL_{name}", value)
    with pytest.raises(ValidationError):
        read_settings()


def test_a_mail_server_and_who_may_be_called_are_settings(environment: pytest.MonkeyPatch) -> None:
    assert read_settings().webhook_reach == "public"
    wanted = {"MAIL_HOST": "mail.test", "MAIL_FROM": "a@b.test", "MAIL_USER": "u", "MAIL_PASSWORD": "hidden"}
    for name, value in {**wanted, "WEBHOOK_REACH": "loopback"}.items():
        environment.setenv(f"NEXUS_{name}", value)
    settings = read_settings()
    assert (settings.mail_port, settings.mail_security, settings.webhook_reach) == (
        587,
        "starttls",
        "loopback",
    )
    assert settings.portal_url == "http://127.0.0.1:8000/services/nexus/"
    assert "hidden" not in repr(settings)


@pytest.mark.parametrize(
    "given",
    [
        {"STORAGE_DRIVER": "openzfs"},
        {"STORAGE_DRIVER": "efs", "STORAGE_BACKUP_VAULT": "nexus"},
        {"STORE_BUCKET": "nexus"},
        {"STORE_ROLE": "arn:aws:iam::123456789012:role/nexus"},
    ],
)
def test_settings_of_what_is_in_the_cloud_are_whole(
    environment: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    for name, value in given.items():
        environment.setenv(f"NEXUS_{name}", value)
    with pytest.raises(ValidationError, match=r"needs|go together"):
        read_settings()


DOCUMENT = yaml.safe_load(TIERS.read_text())
SCIENCE: dict[str, Any] = DOCUMENT["science"]
ENFORCEMENT: dict[str, Any] = DOCUMENT["enforcement"]
POOL: dict[str, Any] = DOCUMENT["pool"]
GPU_SIZE = {"slug": "small", "label": "Small", "cpu": 8, "memory_gib": 32, "gpu": 2}


def tiers(**changes: Any) -> list[dict[str, Any]]:
    """The packaged tiers with changes to each, all of one size."""
    return [tier | {"sizes": ["small"]} | changes for tier in DOCUMENT["tiers"]]


def write(folder: Path, **changes: Any) -> Path:
    document = DOCUMENT | changes
    (folder / "agreement.html").write_text("<p>Be kind.</p>")
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_a_policy_file_of_one_s_own_is_read_with_the_agreement_beside_it(tmp_path: Path) -> None:
    policy = load_policy(write(tmp_path, version=7))
    assert (policy.version, policy.agreement.text_html) == (7, "<p>Be kind.</p>")
    assert policy.tiers[TierSlug.SPECIAL].credits_micro is None


def test_a_policy_file_that_stands_alone_has_the_packaged_agreement(tmp_path: Path) -> None:
    written = write(tmp_path)
    (tmp_path / "agreement.html").unlink()
    assert load_policy(written).agreement.text_html == load_policy().agreement.text_html
    with pytest.raises(FileNotFoundError, match=r"own\.html"):
        load_policy(write(tmp_path, agreement=DOCUMENT["agreement"] | {"file": "own.html"}))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"sizes": []}, "sizes"),
        ({"tiers": []}, "missing"),
        ({"colour": "blue"}, "colour"),
        ({"images": [{"slug": "a", "label": "A"}]}, "default"),
        ({"sizes": [{"slug": "tiny", "label": "Tiny", "cpu": 1, "memory_gib": 1}]}, "unknown sizes"),
        ({"hours": {"min": 1, "max": 2, "step": 1, "default": 3}}, "outside the range"),
        ({"tiers": tiers(notice_days=[7, 14])}, "notice_days"),
        ({"tiers": tiers(notice_days=[365])}, "notice_days"),
        ({"tiers": [*tiers(), *tiers()]}, "given twice"),
        ({"tiers": tiers(gpus=1), "sizes": [GPU_SIZE]}, "a size of 2 GPUs and gives 1"),
        ({"tiers": tiers(who="")}, "who"),
        ({"science": SCIENCE | {"size": "huge"}}, "huge"),
        ({"science": SCIENCE | {"cpu_s_per_detector": 0}}, "cpu_s_per_detector"),
        ({"enforcement": ENFORCEMENT | {"warn_at_percent": [75, 90]}}, "must rise"),
        ({"enforcement": ENFORCEMENT | {"warn_at_percent": [90, 75, 100]}}, "must rise"),
        ({"enforcement": ENFORCEMENT | {"save_minutes_at_zero": -1}}, "save_minutes_at_zero"),
        ({"pool": POOL | {"waiting_sizes": ["huge"]}}, "huge"),
        ({"pool": POOL | {"brake_at_percent": 90}}, "brake_at_percent"),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint):
        load_policy(write(tmp_path, **changes))
