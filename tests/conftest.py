"""The settings of all tests: time zone, import paths, and hypothesis, the same in each run."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ["TZ"] = "UTC"  # whatever this machine has: commands show times in the local zone
time.tzset()
# Their modules are used by tests of other folders, too.
for folder in ("hardware", "pure", "wire", "process"):
    sys.path.append(str(Path(__file__).parent / folder))
# How long examples take depends on the load of the machine: it fails no test. Each run has the same
# examples; `--hypothesis-profile=explore` looks for others.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("camd", settings.get_profile("explore"), derandomize=True)
settings.load_profile("camd")


@pytest.hookimpl(optionalhook=True)  # without pytest-xdist, tests run one by one
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many tests run at once: most of them wait for processes, so more than cores."""
    return max(4, 2 * (os.cpu_count() or 1))
