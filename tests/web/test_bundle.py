"""The page's modules as one script: each once, behind what it needs; what is not understood is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from web.bundle import bundled
from web.front import STATIC, files


def module(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_each_module_stands_once_behind_those_that_it_needs(tmp_path: Path) -> None:
    module(tmp_path, "one.js", "export const one = 1\n")
    module(tmp_path, "two-more.js", "import { one } from './one.js'\nexport class Two {}\nexport const two = one + 1\n")
    entry = module(
        tmp_path, "app.js", "import {\n  Two, two,\n} from './two-more.js'\nimport { one } from './one.js'\none\n"
    )
    assert bundled(entry) == (
        "const $one = (() => {\nconst one = 1\nreturn { one }\n})()\n"
        "const $two_more = (() => {\nconst { one } = $one\n"
        "class Two {}\nconst two = one + 1\nreturn { Two, two }\n})()\n"
        "const $app = (() => {\nconst {\n  Two, two,\n} = $two_more\nconst { one } = $one\none\nreturn {  }\n})()\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        "import one from './one.js'", "import { one as other } from './one.js'", "import './one.js'",
        "export let two = 2", "export default 3", "export { one }",
    ],
)  # fmt: skip
def test_what_is_written_another_way_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    module(tmp_path, "one.js", "export const one = 1\n")
    with pytest.raises(ValueError, match=r"^app\.js: not understood: ") as refused:
        bundled(module(tmp_path, "app.js", f"{line}\n"))
    assert line in str(refused.value)


def test_a_circle_is_refused(tmp_path: Path) -> None:
    module(tmp_path, "one.js", "import { app } from './app.js'\nexport const one = app\n")
    entry = module(tmp_path, "app.js", "import { one } from './one.js'\nexport const app = one\n")
    with pytest.raises(ValueError, match=r"app\.js > one\.js > app\.js"):
        bundled(entry)


def test_every_module_of_the_page_is_in_its_script() -> None:
    script = files()["/static/app.js"].plain.decode()
    alone = {"theme.js"}  # stands in the page itself, before anything is drawn
    for path in STATIC.glob("*.js"):
        assert (f"const ${path.stem.replace('-', '_')} = (" in script) == (path.name not in alone), path.name
