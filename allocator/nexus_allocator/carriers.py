"""What the settings say about sending: the deliverer's carriers, for the service and for the command line."""

from collections.abc import Mapping

from nexus_allocator.clients.files.btrfs import BtrfsVolume
from nexus_allocator.clients.files.directory import DirectoryVolume
from nexus_allocator.clients.files.efs import Backups, EfsVolume
from nexus_allocator.clients.files.openzfs import Fsx, OpenZfsVolume
from nexus_allocator.clients.files.volumes import Volume
from nexus_allocator.clients.files.xfs import XfsVolume
from nexus_allocator.clients.hub import HubClient
from nexus_allocator.clients.mail import MailServer, Post, Site
from nexus_allocator.clients.objects.credentials import AccountStore, Bucket
from nexus_allocator.clients.webhooks import Caller
from nexus_allocator.config import Driver, Mount, Settings
from nexus_allocator.domain.outbox import Channel
from nexus_allocator.policy import load_policy
from nexus_allocator.services.delivery import Carrier
from nexus_allocator.services.hub_calls import HubCarrier
from nexus_allocator.services.letters import MailCarrier
from nexus_allocator.services.place_calls import FilesCarrier
from nexus_allocator.services.webhook_calls import WebhookCarrier
from nexus_allocator.services.webhooks import Vault

PLAIN_VOLUMES: Mapping[Driver, type[BtrfsVolume] | type[DirectoryVolume]] = {
    "directory": DirectoryVolume,
    "btrfs": BtrfsVolume,
    "xfs": XfsVolume,
}


def carriers_of(settings: Settings, hub: HubClient) -> Mapping[Channel, Carrier]:
    """Return how each channel's rows are sent."""
    vault = vault_of(settings)
    carriers: dict[Channel, Carrier] = {
        Channel.MAIL: _mail(settings),
        Channel.WEBHOOK: WebhookCarrier(Caller(vault.reach), vault),
        Channel.HUB: HubCarrier(hub),
    }
    if settings.mount is not None:
        volume = volume_at(settings.mount)
        terms = load_policy(settings.tiers_file).storage
        carriers[Channel.FILES] = FilesCarrier({settings.storage_volume: volume}, terms)
    return carriers


def volume_at(mount: Mount) -> Volume:
    """Return the mounted volume, made ready."""
    if mount.driver == "openzfs":
        assert mount.fsx_volume is not None  # noqa: S101 - the settings ask for it
        volume: BtrfsVolume | DirectoryVolume = OpenZfsVolume(mount.root, _fsx(), mount.fsx_volume)
    elif mount.driver == "efs":
        volume = EfsVolume(mount.root, _backups(mount))
    else:
        volume = PLAIN_VOLUMES[mount.driver](mount.root)
    volume.prepare()
    return volume


def _fsx() -> Fsx:
    """Return AWS's own client, which takes region and rights from where it runs."""
    import boto3  # noqa: PLC0415 - an extra, for OpenZFS alone

    fsx: Fsx = boto3.client("fsx")
    return fsx


def _backups(mount: Mount) -> Backups | None:
    """Return AWS's backups of the file system, None where there are none."""
    if mount.backup_vault is None or mount.backup_role is None or mount.file_system is None:
        return None
    import boto3  # noqa: PLC0415 - an extra, for EFS alone

    # An ARN names the region: arn:aws:elasticfilesystem:REGION:…
    client = boto3.client("backup", region_name=mount.file_system.split(":")[3])
    return Backups(client, mount.backup_vault, mount.backup_role, mount.file_system)


def account_store(settings: Settings) -> AccountStore | None:
    """Return where accounts keep objects, None when there is no bucket for them."""
    if settings.store_bucket is None or settings.store_role is None:
        return None
    import boto3  # noqa: PLC0415 - an extra, for an object store alone
    from botocore.config import Config  # noqa: PLC0415 - likewise

    bucket = Bucket(settings.store_bucket, settings.store_role, settings.store_mission)
    # Who asks waits two seconds, and asks again.
    quick = Config(connect_timeout=1, read_timeout=3, retries={"total_max_attempts": 1})
    return AccountStore(bucket, boto3.client("sts", region_name=settings.store_region, config=quick))


def vault_of(settings: Settings) -> Vault:
    return Vault(settings.sealing_key, settings.webhook_reach)


def _mail(settings: Settings) -> MailCarrier:
    if settings.mail_host is None or settings.mail_from is None:
        return MailCarrier(None, None)
    password = settings.mail_password
    server = MailServer(
        settings.mail_host, settings.mail_port, settings.mail_security, settings.mail_user,
        password.get_secret_value() if password else None,
    )  # fmt: skip
    return MailCarrier(Post(server), Site(settings.mail_from, settings.portal_url))
