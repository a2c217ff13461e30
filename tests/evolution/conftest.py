"""Makes `toy_worlds` importable by its name, in this process and in the spawned ones."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
