"""Lets these tests use the small good files of tests/hostile."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "hostile"))
