"""The pages written by hand: links lead somewhere, calls parse, files load, and every alarm has its entry."""

from __future__ import annotations

import ast
import os
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from commands import cli
from commands.reference.settings import comments
from config.settings import HERE, SettingsError, load_settings
from domain.notices.alarm_words import REMEDIES
from simulation.gateway.faults import load_faults
from tests.testkit.paths import ROOT

PAGES = sorted((*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")))
HAND = [page for page in PAGES if page.parent.name != "reference"]
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(#[^)]*)?\)")
CALL = re.compile(r"(?:\.venv/bin/)?python main\.py ([^`#\n]*)")


@pytest.fixture(autouse=True)
def _no_settings_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ZEROHOUR_")]:
        monkeypatch.delenv(name)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {"#" + re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        file = page.parent / target if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            lost.append(target + anchor)
    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_page_names_a_machine(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [word for word in ("/work/", "/tmp/", "/root/", "/home/") if word in text] == []


@pytest.mark.parametrize("page", HAND, ids=name_of)
def test_documented_calls_are_calls(page: Path) -> None:
    parser = cli.parser()
    for call in CALL.findall(page.read_text(encoding="utf-8")):
        words = shlex.split(call.split(" | ")[0])
        # A form such as [DATE] stands for what may be given; a placeholder in capitals for a value of its type.
        words = [w for w in words if not w.startswith("[") and not w.endswith("]")]
        words = [{"N": "3", "S": "7", "PID": "1"}.get(w, w) for w in words]
        try:
            parser.parse_args(words)
        except SystemExit as ended:
            assert not ended.code, f"{name_of(page)} documents `main.py {call}`"  # --version and --help end with 0


def blocks(page: Path, language: str) -> Iterator[str]:
    for indent, kind, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == language:
            yield re.sub(f"^{indent}", "", text, flags=re.MULTILINE)


# Blocks that show settings of code which the page says how to write: what is refused of them until then.
OF_CODE_TO_COME = {
    ("docs/guides/add-a-broker.md", "broker: {orders: acme}"): "broker.orders",
    ("docs/guides/add-an-alert.md", "alert_files: [strategies/momentum.py]"): "there is no Python file",
}


def test_documented_settings_and_fault_scripts_load(tmp_path: Path) -> None:
    seen = {"settings": 0, "faults": 0}
    to_come = dict(OF_CODE_TO_COME)
    for page in HAND:
        for text in blocks(page, "yaml"):
            file = tmp_path / "block.yaml"
            file.write_text(text, encoding="utf-8")
            begins = text.partition("#")[0].strip() or text.splitlines()[0]
            refused = to_come.pop((name_of(page), begins.splitlines()[0].strip()), None)
            if refused is not None:
                with pytest.raises(SettingsError, match=re.escape(refused)):
                    load_settings(file)
            elif isinstance(yaml.safe_load(text), list):
                load_faults(file)
                seen["faults"] += 1
            else:
                load_settings(file)
                seen["settings"] += 1
    assert min(seen.values()) > 0, seen
    assert to_come == {}, "no such block"


def test_examples_in_the_comments_of_the_defaults_load(tmp_path: Path) -> None:
    text = (HERE / "defaults.yaml").read_text(encoding="utf-8")
    examples = [
        (path, example)
        for path, comment in comments(text.splitlines())
        for example in re.findall(r"such as `([^`]+)`", comment)
    ]
    assert {"promoted", "day.closed_dates", "broker.foreign_allowed"} <= {path for path, _ in examples}
    assert len(examples) == text.count("such as `"), "an example stands where no setting is"
    for path, example in examples:
        text = example
        for name in reversed(path.split(".")):
            text = f"{{{name}: {text}}}"
        file = tmp_path / "example.yaml"
        file.write_text(text, encoding="utf-8")
        load_settings(file)


# Functions that raise an alarm for others: where the key stands among their arguments, by file (the longest path
# counts).
KEY_ARGUMENTS: dict[str, dict[str, int]] = {
    "actors/feed.py": {"publish_alarm": 1},
    "actors/hub.py": {"publish_alarm": 1, "name_unusable": 1},
    "actors/quotes": {"alarm": 1},
    "actors/ibkr": {"alarm": 1, "halt": 1},
    "actors/ledger_outage.py": {"_alarm": 1},
    "actors/position": {"alarm": 1},
    "actors/router.py": {"alarm": 1},
    "commands/housekeeping.py": {"_alarm": 0, "_well": 0},
    "supervision": {"_alarm": 0, "_halt": 0},
    "supervision/supervisor.py": {"_alarm": 1},
}
# Keys are put together there from what the callers give.
PREFIXES = {"actors/hub.py": "hub:<>:"}


def alarm_keys() -> tuple[set[str], set[str]]:
    """Return the keys of alarms as they stand in the code (a part that is filled in later is `<>`).

    Also those functions that take a key from their callers and are not in `KEY_ARGUMENTS`, as `file: function`.
    """
    keys: set[str] = set()
    unknown: set[str] = set()
    for room in ("actors", "supervision", "commands"):
        for file in sorted((ROOT / room).rglob("*.py")):
            name = file.relative_to(ROOT).as_posix()
            known = KEY_ARGUMENTS.get(max((k for k in KEY_ARGUMENTS if name.startswith(k)), key=len, default=""), {})
            for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if not isinstance(function, ast.FunctionDef):
                    continue
                for key in keys_in(function, known):
                    text = key_text(key, file)
                    if text is not None:
                        keys.add(PREFIXES.get(name, "") + text)
                    elif function.name not in known:
                        unknown.add(f"{name}: {function.name}")
    return keys, unknown


def keys_in(function: ast.FunctionDef, known: dict[str, int]) -> Iterator[ast.expr]:
    """Yield the expression of every alarm key that a function gives."""
    for call in ast.walk(function):
        match call:
            case ast.Call(func=ast.Attribute(attr="Alarm") | ast.Name(id="Alarm")):
                yield from (keyword.value for keyword in call.keywords if keyword.arg == "key")
            case ast.Call(func=ast.Attribute(attr=called) | ast.Name(id=called)) if called in known:
                yield from call.args[known[called] : known[called] + 1]
            case _:
                pass


def key_text(key: ast.expr, file: Path) -> str | None:
    """Return a key as text; `None` where it is a variable."""
    match key:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(str(part.value) if isinstance(part, ast.Constant) else "<>" for part in parts)
        case ast.Name(id=name) if name.isupper():
            return str(getattr(import_module(".".join(file.relative_to(ROOT).with_suffix("").parts)), name))
        case _:
            return None


def test_every_alarm_has_its_entry_in_the_runbook_and_no_entry_is_of_the_past() -> None:
    runbook = (ROOT / "docs" / "operations" / "runbook.md").read_text(encoding="utf-8")
    entries = {re.sub("<[^>]*>", "<>", title) for title in re.findall(r"^### `(.+)`$", runbook, re.MULTILINE)}
    keys, unknown = alarm_keys()
    assert unknown == set(), "say in KEY_ARGUMENTS which argument is the key"
    assert {"daily_loss", "foreign", "budget:<>", "feed:<>", "hub:<>:silent", "trace"} <= keys  # the search works
    assert sorted(keys - entries) == [], "docs/operations/runbook.md has no entry"
    assert sorted(entries - keys) == [], "docs/operations/runbook.md has an entry that nothing raises"
    assert set(REMEDIES) == keys | {"hard_stop"}, "domain/notices/alarm_words.py says what to do about each"


def test_a_function_that_hands_a_key_on_is_seen(tmp_path: Path) -> None:
    code = "def warn(turn, what):\n    turn.publish(operator.Alarm(key=what))\n    turn.do(halt(turn, f'x:{what}'))\n"
    (function,) = ast.parse(code).body
    assert isinstance(function, ast.FunctionDef)
    assert {key_text(key, tmp_path) for key in keys_in(function, {"halt": 1})} == {None, "x:<>"}
