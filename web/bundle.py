"""The page's modules as one script: one answer instead of sixteen before the page works.

They stay modules: each becomes a function that is called once, in the order in which they need each other, and gives
what it exports. What is understood is what the page uses: `import { a, b } from './c.js'` and `export const` or
`export class`; anything else is refused, and so is a circle.
"""

from __future__ import annotations

import re
from pathlib import Path

_IMPORT = re.compile(r"^import \{(\s*\w+(?:,\s*\w+)*,?\s*)\} from '\./([\w-]+\.js)'\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (const|class) (\w+)", re.MULTILINE)
_LEFT = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


def bundled(entry: Path) -> str:
    """Return a module with all that it imports as one script.

    Raises:
        ValueError: modules need each other in a circle, or one is written in a way that is not understood here.
    """
    parts: dict[str, str] = {}
    _add(entry, parts, ())
    return "".join(parts.values())


def _add(module: Path, parts: dict[str, str], users: tuple[str, ...]) -> None:
    """Add a module behind those that it needs."""
    if module.name in users:
        raise ValueError(f"these modules need each other: {' > '.join((*users, module.name))}")
    if module.name in parts:
        return
    text = module.read_text("utf-8")
    for needed in _IMPORT.finditer(text):
        _add(module.with_name(needed[2]), parts, (*users, module.name))
    exported = ", ".join(found[2] for found in _EXPORT.finditer(text))
    body = _EXPORT.sub(r"\1 \2", _IMPORT.sub(lambda found: f"const {{{found[1]}}} = {_name(found[2])}\n", text))
    if (left := _LEFT.search(body)) is not None:
        raise ValueError(f"{module.name}: not understood: {left[0]}")
    parts[module.name] = f"const {_name(module.name)} = (() => {{\n{body}return {{ {exported} }}\n}})()\n"


def _name(file: str) -> str:
    """Return the variable that holds what a module exports: `price-chart.js` is `$price_chart`."""
    return "$" + file.removesuffix(".js").replace("-", "_")
