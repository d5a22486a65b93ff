"""What all tests share."""

from __future__ import annotations

import os

# Before torch is imported: with more threads than one, small tensors take longer, and sums may differ by a bit.
os.environ.setdefault("OMP_NUM_THREADS", "1")
