"""What every test folder shares: `support`, and the builders of media streams beside the pure."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from hypothesis import settings

os.environ["TZ"] = "UTC"  # whatever this machine has: commands show times in the local zone
time.tzset()
sys.path.append(str(Path(__file__).parent / "hardware"))  # the checks of its scripts
# How long an example takes is the machine's affair: no test fails for its slowness.
settings.register_profile("camd", deadline=None)
settings.load_profile("camd")
