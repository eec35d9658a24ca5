"""The driver for Amazon EFS: one file system, mounted as a whole here and by sub-path in people's servers.

EFS has no quotas of folders, no ACLs and no extended attributes. Usage is scanned and limits are remembered,
as in a plain folder: a lock-out (servers that start beside a full home) stands in for the kernel's refusal.
An access point with an enforced identity would replace a person's uid and groups, so none is used. Copies are
those of AWS Backup, of the whole file system.
"""

from nexus_allocator.clients.files.directory import DirectoryVolume


class EfsVolume(DirectoryVolume):
    """Places are folders below ``root``, where the file system is mounted."""

    driver = "efs"
