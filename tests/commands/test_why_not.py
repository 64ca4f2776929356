"""`why-not`: the gate that refused with what it measured, what was amended, and why a bucket brought no alert."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from commands.cli import main
from commands.folder import DataFolder
from config.settings import load_settings
from domain.features.evidence import Evidence
from domain.features.measures import MEASURES
from domain.instants import exchange_clock
from domain.risk.gates.sequence import no_contract
from domain.risk.gates.types import Finding, Outcome, Verdict, refused
from domain.risk.reject import RejectCode
from domain.signals.registry import FEATURES
from domain.signals.snapshot import Snapshot
from domain.units import Ticks, Utc
from messages.base import Message
from storage.desk_ledger import DeskLedger
from storage.series_rows import ReadingLine
from storage.shared_ledger import SharedLedger, start_run
from tests.domain.signals import test_conditioned as condition
from tests.domain.signals.test_predicates import FIRES
from tests.testkit import ledger_asks as ask

BUCKET = ask.key(1).bucket_utc


class World:
    """A data folder with ledgers and a trace, and what the command says of it."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = DataFolder(root)
        self.folder.make()
        start_run(self.folder.ledgers, ("paper",), ask.T0)
        self._capsys = capsys
        self.trace()

    def keep(self, *messages: Message) -> None:
        desk = DeskLedger(self.folder.ledgers, "paper", run_n=1)
        desk.open()
        for message in messages:
            desk.apply(message, ask.T0)
        desk.close()

    def alert(self, **changes: Any) -> None:
        shared = SharedLedger(self.folder.ledgers, ("paper",))
        shared.open()
        shared.apply(ask.alert(1, **changes), ask.T0)
        shared.close()

    def trace(self, *messages: dict[str, Any]) -> None:
        path = self.folder.traces / ask.DAY.isoformat() / "run-1.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows: list[dict[str, Any]] = [{"kind": "header", "run_n": 1}]
        rows += [
            {"kind": "envelope", "seq": n, "at_utc": ask.T0, "to": "lane:gexwatch:SPX", "message": message}
            for n, message in enumerate(messages)
        ]
        path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))

    def ask(self, *signal: str) -> tuple[int, str]:
        code = main(["--data", str(self.folder.root), "why-not", *(signal or (ask.alert_id(1),))])
        said = self._capsys.readouterr()
        return code, said.out or said.err

    def said(self, *signal: str) -> tuple[int, str]:
        """The exit code and what is said, without the ends of the lines."""
        code, text = self.ask(*signal)
        return code, " ".join(text.split())


@pytest.fixture
def world(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> World:
    return World(tmp_path, capsys)


def not_evaluated(why: str, **changes: Any) -> dict[str, Any]:
    return {
        "type": "signals.NotEvaluated", "source": "gexwatch", "ticker": "SPX", "kind": "GAMMA_FLIP",
        "bucket_utc": BUCKET, "why": why,
    } | changes  # fmt: skip


def reading(**changes: Any) -> dict[str, Any]:
    return {
        "type": "signals.FeaturesComputed", "ticker": "SPX", "bucket_utc": BUCKET, "missing": [], "spot": 600_050,
        "zero_gamma": 599_900,
    } | changes  # fmt: skip


def test_the_gate_that_refused_is_told_with_all_verdicts_up_to_it(world: World) -> None:
    passed = Verdict("kill_level", Finding(Outcome.PASS, None, 0, 1, "level"))
    refused = Verdict("quote_fresh", Finding(Outcome.REJECT, RejectCode.STALE_QUOTE, 4000, 3000, "ms"))
    world.keep(ask.denial(1, verdicts=(passed, refused)))
    code, said = world.ask()
    assert code == 0
    assert max(map(len, said.splitlines())) <= 80
    lines = said.splitlines()
    assert [line.split()[1:3] for line in lines if "against" in line][:2] == [
        ["kill_level", "pass"], ["quote_fresh", "REFUSED"],
    ]  # fmt: skip
    assert "level 0 against level 1" in said
    assert lines[-1] == "Refused by gate 20 (quote_fresh), stale_quote: 4 s against 3 s."


def test_an_accepted_attempt_that_came_to_nothing_is_told_with_the_brokers_words(world: World) -> None:
    world.keep(ask.reserve(1), ask.amended(1, code=RejectCode.BROKER_REJECTED, words="201: no margin"))
    code, said = world.said()
    assert code == 0
    assert said.endswith("Approved, but it came to nothing: broker_rejected (201: no margin).")


def test_a_signal_that_was_traded_points_to_why(world: World) -> None:
    world.keep(ask.reserve(1), ask.execution(1))
    assert f"It was traded: 2 filled; `main.py why {ask.ref(1)}`" in world.said()[1]


def test_an_entry_without_a_fill_is_no_refusal(world: World) -> None:
    world.keep(ask.reserve(1), ask.abandoned(1))
    assert f"Approved and sent, without a fill ({ask.ref(1)})." in world.said()[1]


@pytest.mark.parametrize("is_shadow", [True, False])
def test_an_alert_that_nobody_decided_on_says_whether_it_was_a_shadow(world: World, is_shadow: bool) -> None:
    world.alert(is_shadow=is_shadow)
    code, said = world.said()
    assert code == 0
    assert ("a shadow: its kind is not promoted" in said) is is_shadow
    assert "nobody decided on it" in said


def test_a_bucket_without_an_alert_says_what_the_lane_said(world: World) -> None:
    world.trace(not_evaluated("cooldown: this flip is let go"), not_evaluated("other", kind="OTHER"), reading())
    for signal in ((ask.alert_id(1),), ("gexwatch:SPX", "GAMMA_FLIP", "10:00:30"),
                   ("lane:gexwatch:SPX", "GAMMA_FLIP-1", "10:00:44")):  # fmt: skip
        code, said = world.said(*signal)
        assert code == 0
        assert "spot 6000.50, zero gamma 5999.00 (-2.5 bps)" in said
        assert said.endswith("No alert: cooldown: this flip is let go.")


def test_a_bucket_that_was_judged_in_silence_had_nothing_in_it(world: World) -> None:
    world.trace(reading())
    code, said = world.said()
    assert (code, "what the kind looks for was not there" in said) == (0, True)


def test_a_bucket_that_nobody_read_says_so_and_is_no_success(world: World) -> None:
    world.trace(reading(bucket_utc=BUCKET + 30 * 10**9))
    code, said = world.said()
    assert (code, "No lane read this bucket" in said) == (1, True)


@pytest.mark.parametrize(
    ("signal", "words"),
    [
        (("nonsense",), "is no alert id"),
        (("gexwatch:SPX", "GAMMA_FLIP"), "names no signal"),
        (("gexwatch:XYZ", "GAMMA_FLIP", "10:00"), "There is no lane"),
        (("gexwatch:SPX", "NOTHING", "10:00"), "does not look for"),
        (("gexwatch:SPX", "GAMMA_FLIP", "25:00"), "is no time"),
        (("gexwatch:SPX", "GAMMA_FLIP-x", "10:00"), "is no version"),
        (("gexwatch:SPX", "GAMMA_FLIP", "10:00", "--session", "today"), "is not a date"),
    ],
)
def test_a_signal_that_is_none_gets_one_sentence(world: World, signal: tuple[str, ...], words: str) -> None:
    code, said = world.ask(*signal)
    assert (code, said.count("\n")) == (2, 1)
    assert words in said


def test_a_signal_that_is_quoted_as_one_word_is_the_same(world: World) -> None:
    world.keep(ask.denial(1))
    clock = exchange_clock(ask.key(1).bucket_utc)
    assert world.ask(f"gexwatch:SPX GAMMA_FLIP {clock}") == world.ask("gexwatch:SPX", "GAMMA_FLIP", clock)


def test_where_no_contract_passed_the_refusal_of_the_nearest_is_the_cause(world: World) -> None:
    near = refused(RejectCode.ILLIQUID, 5, 2, "contracts", "SPXW 6005C, quoted 2")
    far = refused(RejectCode.SPREAD_TOO_WIDE, 0.2, 0.08, "of mid", "SPXW 6010C")
    verdicts = (Verdict("spread", near), Verdict("spread", far), no_contract(2, "last: spread_too_wide"))
    world.keep(ask.denial(1, RejectCode.NO_CONTRACT, verdicts=verdicts))
    said = " ".join(world.ask(ask.alert_id(1))[1].split())
    wanted = "no_contract: illiquid: 5 contracts, at most 2, SPXW 6005C, quoted 2; 2 contracts tried, none passed."
    assert said.endswith(wanted)


def test_the_answer_for_machines_has_the_conclusion(world: World) -> None:
    world.keep(ask.denial(1))
    code, said = world.ask(ask.alert_id(1), "--json")
    found = orjson.loads(said)
    assert (code, found["alert_id"], found["attempts"][0]["code"]) == (0, ask.alert_id(1), "stale_quote")
    assert found["conclusion"].startswith("Refused by gate")


def test_a_day_names_what_was_refused_and_what_came_nearest(world: World) -> None:
    far = Verdict("quote_fresh", Finding(Outcome.REJECT, RejectCode.STALE_QUOTE, 9000, 3000, "ms"))
    near = Verdict("quote_fresh", Finding(Outcome.REJECT, RejectCode.STALE_QUOTE, 3100, 3000, "ms"))
    world.keep(ask.denial(2, verdicts=(far,)), ask.denial(1, verdicts=(near,)))
    world.alert()
    world.trace(not_evaluated("phase late"), not_evaluated("phase late", bucket_utc=BUCKET + 30 * 10**9))
    for signal in ((), (ask.DAY.isoformat(),)):
        code = main(["--data", str(world.folder.root), "why-not", *signal])
        said = " ".join(world._capsys.readouterr().out.split())
        assert code == 0
        assert said.startswith(
            f"Session {ask.DAY}, New York's clock 1 alert (0 of them shadows), 2 attempts: 0 traded, 0 without a fill,"
            " 2 refused refused by stale_quote 2"
            f" nearest of all to a trade: 10:00:00 stale_quote, 3.1 s against 3 s ({ask.alert_id(1)}) "
        ), "the sum stands first"
        assert "gexwatch:SPX GAMMA_FLIP: 1 alert, refused by stale_quote 2" in said
        assert f"nearest to a trade: 10:00:00 stale_quote, 3.1 s against 3 s ({ask.alert_id(1)})" in said
        assert "without a judgement, of 0 readings: phase late 2" in said
        assert "advisor:QQQ STRUCTURE_BREAK: nothing was read" in said


def test_a_day_for_machines_has_every_lane(world: World) -> None:
    world.keep(ask.denial(1))
    assert main(["--data", str(world.folder.root), "why-not", ask.DAY.isoformat(), "--json"]) == 1
    found = orjson.loads(world._capsys.readouterr().out)
    settings = load_settings()
    assert [(row["lane"], row["kind"]) for row in found] == [
        (f"{source}:{ticker}", kind)
        for source, tickers in settings.lanes.items() for ticker in tickers for kind in settings.alerts[source]
    ]  # fmt: skip
    assert found[0]["refused"] == {"stale_quote": 1}


def test_a_day_whose_readings_are_stored_names_the_nearest_miss(world: World) -> None:
    lines = [
        ReadingLine(
            ticker="SPX", bucket_utc=Utc(BUCKET + n * 30 * 10**9), reading_n=n, spot=Ticks(spot), alignment=None,
            zero_gamma=Ticks(600_000), is_complete=True, missing=(), forces=(), features=(None,) * len(FEATURES),
            snapshot=Snapshot(Utc(0), measures=tuple(
                float(spot - 600_000) if name == "net_oi" else None for name in MEASURES
            )),
            run_n=1,
        )
        for n, spot in enumerate((599_000, 599_000, 600_100, 599_000))
    ]  # fmt: skip
    folder = world.folder.series / ask.DAY.isoformat()
    folder.mkdir(parents=True)
    (folder / "readings.jsonl").write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    assert main(["--data", str(world.folder.root), "why-not", ask.DAY.isoformat()]) == 0
    said = " ".join(world._capsys.readouterr().out.split())
    assert "0 alerts (0 of them shadows), 0 attempts: 0 traded, 0 without a fill, 0 refused" in said
    assert "nearest of all to an alert: gexwatch:SPX " in said
    assert "no alert in 4 readings" in said
    assert "nearest to an alert: 10:01:30 3.3 bps away, spot 6001.00, zero gamma 6000.00" in said


def test_of_a_kind_with_several_thresholds_the_one_that_alone_stood_in_the_way_is_named(world: World) -> None:
    seen = condition.reading(0, FIRES["CASCADE_WATCH"][0] | {"alignment": -0.05})  # the demo wants 0.1
    line = ReadingLine(
        ticker="QQQ", bucket_utc=Utc(BUCKET), reading_n=0, spot=Ticks(51_700), alignment=None, zero_gamma=Ticks(51_800),
        is_complete=True, missing=(), forces=(), features=seen.features, snapshot=None, run_n=1,
        evidence=Evidence(seen.features, seen.context, seen.forces, seen.alignment),
    )  # fmt: skip
    folder = world.folder.series / ask.DAY.isoformat()
    folder.mkdir(parents=True)
    (folder / "readings.jsonl").write_bytes(msgspec.json.encode(line) + b"\n")
    assert main(["--data", str(world.folder.root), "why-not", ask.DAY.isoformat()]) == 0
    said = " ".join(world._capsys.readouterr().out.split())
    assert "alignment_min alone stood in the way: it is 0.1, 0.05 would have let it through" in said
