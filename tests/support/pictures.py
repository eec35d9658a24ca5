"""Where browser tests put their pictures, to be looked at."""

import os
from pathlib import Path

SHOTS = Path(os.environ.get("SCREENSHOTS", "/tmp/nexus-screenshots"))  # noqa: S108 - pictures only
# Pictures of every page in every look take longer than its checks: only for who wants to look at them.
GALLERY = SHOTS / "portal" if "SCREENSHOTS" in os.environ else None
