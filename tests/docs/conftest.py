"""The helpers of this folder, and the models that the consumer tests make."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "consumer"), str(Path(__file__).parent)]
