"""What every test folder shares: `support`, and the builders of media streams beside the pure."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "pure"))
