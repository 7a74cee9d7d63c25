"""The settings of all tests: time zone, import paths, and hypothesis without deadlines."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from hypothesis import settings

os.environ["TZ"] = "UTC"  # whatever this machine has: commands show times in the local zone
time.tzset()
for folder in ("hardware", "pure", "wire"):  # modules that tests of other folders use, too
    sys.path.append(str(Path(__file__).parent / folder))
# The duration of an example depends on the load of the machine: it fails no test.
settings.register_profile("camd", deadline=None)
settings.load_profile("camd")
