"""Lets the tests of this folder share `ledger_asks` and `bucket_rows`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
