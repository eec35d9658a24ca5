"""Who pays for the server that a command runs on."""

import os


def account() -> str | None:
    """Return the account that the Nexus told the server, None where there is none."""
    return os.environ.get("NEXUS_ACCOUNT")
