"""The entry of the program: version and help at once, and one sentence from a Python that lacks the libraries."""

from __future__ import annotations

import subprocess
import sys

import pytest

from commands.cli import _MODULES, VERSION, parser
from tests.testkit.paths import ROOT

# -S leaves site-packages out: what a Python sees that is not that of the environment.
WITHOUT_LIBRARIES = ("-E", "-s", "-S")
HEAVY = ("pydantic", "numpy", "duckdb", "pyarrow", "msgspec", "orjson", "ib_insync", "pykka", "yaml", "rich")
# Plays main.py as a script, then names what of HEAVY was loaded on the way.
PLAY = """
import runpy, sys
sys.argv = ["main.py", *sys.argv[1:]]
sys.path.insert(0, ".")
try:
    runpy.run_path("main.py", run_name="__main__")
except SystemExit as ended:
    heavy = sorted({name.partition(".")[0] for name in sys.modules} & set(%r))
    print(f"loaded: {heavy}; exit code {ended.code}")
"""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("options", [(), WITHOUT_LIBRARIES], ids=["as installed", "without libraries"])
def test_the_version_is_printed(options: tuple[str, ...]) -> None:
    ended = python(*options, "main.py", "--version")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"Zerohour {VERSION}\n", "")


def test_the_version_is_that_of_the_project() -> None:
    assert f'version = "{VERSION}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("options", [(), WITHOUT_LIBRARIES], ids=["as installed", "without libraries"])
@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help")], ids=" ".join)
def test_help_is_printed(options: tuple[str, ...], arguments: tuple[str, ...]) -> None:
    ended = python(*options, "main.py", *arguments)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("usage: main.py")


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help"), ("--version",), ("nonsense",)], ids=" ".join)
def test_help_and_a_wrong_call_load_nothing_heavy(arguments: tuple[str, ...]) -> None:
    ended = python("-c", PLAY % (HEAVY,), *arguments)
    assert f"loaded: []; exit code {2 if arguments == ('nonsense',) else 0}" in ended.stdout


@pytest.mark.parametrize("command", sorted(_MODULES))
def test_without_the_libraries_every_command_says_how_to_get_them_in_one_sentence(command: str) -> None:
    needed = {"why": ["ZH-paper-A-e"], "why-not": ["A"], "sim": ["gateway"], "kill": ["1", "--reason", "r"]}
    needed |= {"sql": ["SELECT 1"], "export": ["gaps"], "chain": ["SPX"], "gamma": ["chain.csv"]}
    needed |= {"restore": ["--from", "copies"], "tax": ["2026"], "completion": ["bash"], "ask": ["status"]}
    needed |= {name: ["gexwatch", "A-1", "--reason", "r"] for name in ("promote", "demote")}
    needed["switch"] = ["gexwatch", "real", "--reason", "r"]
    needed |= {"backtest": ["2026-11-20", "2026-11-20"], "new-alert": ["GAP_FILL"]}
    needed |= {"sweep": ["2026-11-20", "2026-11-20", "exits.premium_stop=0.3"]}
    needed |= {"fit-exits": ["2026-11-20", "2026-11-20"]}
    needed |= {"evaluate": ["GAMMA_FLIP", "2026-11-20", "2026-11-20"]}
    more = needed.get(command, ["--reason", "r"] if command in ("resume", "flatten", "memberships") else [])
    parser().parse_args([command, *more])  # the call itself is right
    ended = python(*WITHOUT_LIBRARIES, "main.py", command, *more)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("This Python has no ")
    assert "make run" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_what_makes_trading_safer_asks_for_no_reason_and_what_loosens_it_does() -> None:
    for call in (["kill", "1"], ["kill", "2"], ["flatten"], ["flatten", "--direct"]):
        assert parser().parse_args(call).reason == "no reason was given"
    with pytest.raises(SystemExit):
        parser().parse_args(["resume"])


@pytest.mark.parametrize("module", ["commands.reference", "benchmarks"])
def test_without_the_libraries_a_module_says_so_in_the_same_sentence(module: str) -> None:
    ended = python(*WITHOUT_LIBRARIES, "-m", module)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("This Python has no ")
    assert ended.stderr.endswith(f"`.venv/bin/python -m {module}`.\n")


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("statuss", "did you mean 'status'?"), ("rnu", "did you mean 'run'?"), ("lgos", "did you mean 'logs'?"),
        ("xyz", "`main.py --help` lists"), ("bogus", "`main.py --help` lists"),
    ],
)  # fmt: skip
def test_a_command_that_is_none_is_told_in_a_line_with_the_nearest(
    said: str, answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args([said])
    told = capsys.readouterr().err.splitlines()
    assert answer in told[-1]
    assert "choose from" not in told[-1]


@pytest.mark.parametrize(
    "words",
    [
        ("sim", "gateway", "--port", "80000"),
        ("sim", "gateway", "--control-port", "-1"),
        ("dashboard", "--port", "65536"),
    ],
    ids=" ".join,
)
def test_a_port_that_there_is_not_is_told_as_such(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(words)
    assert ended.value.code == 2
    assert f"argument {words[-2]}: there is no port {words[-1]}; give 1 to 65535" in capsys.readouterr().err
