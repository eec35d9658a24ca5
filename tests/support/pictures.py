"""Where browser tests put their pictures, to be looked at."""

import os
from pathlib import Path

SHOTS = Path(os.environ.get("SCREENSHOTS", "/tmp/nexus-screenshots"))  # noqa: S108 - pictures only
