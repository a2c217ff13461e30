"""Makes `gated_worlds` importable by its name, in this process and in those of a cluster."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
