"""TensorFlow on one CPU thread and without its chatter; the toy environments importable, in worker processes too."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.update(
    CUDA_VISIBLE_DEVICES="-1",
    TF_CPP_MIN_LOG_LEVEL="3",
    TF_NUM_INTRAOP_THREADS="1",
    TF_NUM_INTEROP_THREADS="1",
    OMP_NUM_THREADS="1",
)
sys.path.append(str(Path(__file__).parent))
