"""`nexus-allocator rounds` meters and delivers until told to stop, in place of the service's own threads."""

import signal
import threading
from types import FrameType

from nexus_allocator.cli_database import utc_now
from nexus_allocator.clients.hub import HubClient
from nexus_allocator.config import read_settings
from nexus_allocator.policy import load_policy
from nexus_allocator.rounds import running_rounds
from nexus_allocator.store.session import Database


def rounds() -> None:
    """Meter and deliver until SIGTERM or Ctrl-C; for services with NEXUS_ROUNDS=elsewhere."""
    settings = read_settings()
    ending = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ending.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    database = Database(settings.database_url, threads=settings.worker_threads)
    try:
        with (
            HubClient(settings.hub_api_url, settings.hub_token.get_secret_value()) as hub,
            running_rounds(settings, load_policy(settings.tiers_file), database, hub, clock=utc_now),
        ):
            ending.wait()
    finally:
        database.dispose()
