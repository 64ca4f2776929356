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
from config.settings import load_settings
from simulation.gateway.faults import load_faults

ROOT = Path(__file__).parents[2]
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
        except SystemExit:
            pytest.fail(f"{name_of(page)} documents `main.py {call}`")


def blocks(page: Path, language: str) -> Iterator[str]:
    for indent, kind, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == language:
            yield re.sub(f"^{indent}", "", text, flags=re.MULTILINE)


def test_documented_settings_and_fault_scripts_load(tmp_path: Path) -> None:
    seen = {"settings": 0, "faults": 0}
    for page in HAND:
        for text in blocks(page, "yaml"):
            file = tmp_path / "block.yaml"
            file.write_text(text, encoding="utf-8")
            content = yaml.safe_load(text)
            if isinstance(content, list):
                load_faults(file)
                seen["faults"] += 1
            elif "profile" in content:
                load_settings(file)
                seen["settings"] += 1
    assert min(seen.values()) > 0, seen


def alarm_keys() -> set[str]:
    """Collect the keys of alarms as they stand in the code; a part that is filled in later is `<>`."""
    found = set()
    for file in sorted((*(ROOT / "actors").rglob("*.py"), *(ROOT / "supervision").rglob("*.py"))):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            if called == "Alarm":
                keys = [k.value for k in call.keywords if k.arg == "key"]
            elif called.strip("_") in ("alarm", "publish_alarm", "halt"):  # (turn, key, text), or (key, text)
                keys = [key for key in call.args if getattr(key, "id", "") != "turn"][:1]
            else:
                continue
            found |= {text for key in keys if (text := key_text(key, file)) is not None}
    return found


def key_text(key: ast.expr, file: Path) -> str | None:
    if isinstance(key, ast.Constant):
        return str(key.value)
    if isinstance(key, ast.JoinedStr):
        text = "".join(str(p.value) if isinstance(p, ast.Constant) else "<>" for p in key.values)
        return None if text.startswith("<>") else text  # `<hub>:<what>`: the parts are looked at where they are given
    if isinstance(key, ast.Name) and key.id.isupper():
        return str(getattr(import_module(".".join(file.relative_to(ROOT).with_suffix("").parts)), key.id))
    return None  # a parameter: its callers name the key


def test_every_alarm_has_its_entry_in_the_runbook() -> None:
    runbook = (ROOT / "docs" / "operations" / "runbook.md").read_text(encoding="utf-8")
    entries = [re.sub("<[^>]*>", "<>", title) for title in re.findall(r"^### `(.+)`$", runbook, re.MULTILINE)]
    keys = alarm_keys()
    works = {"daily_loss", "foreign", "lines", "stored", "feed:<>", "budget:<>", "crash:<>", "mailbox:<>"}
    assert works <= keys, sorted(keys)
    assert [key for key in sorted(keys) if key not in entries and f"hub:<>:{key}" not in entries] == []
