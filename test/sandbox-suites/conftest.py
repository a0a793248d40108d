"""The adapters are those of the Python client, with the sources of this checkout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "clients/python/src"))
