"""`python -m commands.reference`: writes docs/reference/ from the code that it describes; `--check` only compares."""

from __future__ import annotations

import sys

from commands.cli import libraries_needed

with libraries_needed("-m commands.reference"):
    from commands.reference.pages import main

sys.exit(main(sys.argv[1:]))
