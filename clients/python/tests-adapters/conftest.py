"""The tests run against the Kaa of scripts/dialects, with the sources of this checkout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))
pytest_plugins = ["kaa.pytest_plugin"]
