"""Import this before lcat: where lcat is not installed, the one of this source tree is used."""

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("lcat") is None:
    sys.path.append(str(Path(__file__).resolve().parents[1]))
