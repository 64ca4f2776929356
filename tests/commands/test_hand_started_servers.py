"""Servers and clocks started by hand: in a session at any hour, and a clock that leads simulated servers alone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from argparse import Namespace
from datetime import date, time
from pathlib import Path
from typing import Any

import pytest

from commands import sim
from commands.cli import CommandError, main
from commands.clocks import led_clock, market_text, start_of
from config.settings import Settings, load_settings
from domain.instants import MINUTE, SECOND, at_exchange
from domain.units import Utc
from simulation.pace.nights import session_after, session_at, skip_nights
from supervision.clock import LedClock, MarketClock, Segment
from tests.testkit.paths import ROOT

FRIDAY, MONDAY = date(2026, 11, 20), date(2026, 11, 23)
LOCAL = {"feed": {"negotiate_url": "http://127.0.0.1:8300/v2/negotiate"}}


def real(**overrides: Any) -> Settings:
    return load_settings(profile="real", overrides=LOCAL | overrides)


def made(tmp_path: Path, start: str = "2026-11-20 09:20:00", *more: str) -> Path:
    path = tmp_path / "clock"
    assert main(["sim", "clock", "--clock", str(path), "--start", start, *more]) == 0
    return path


# -- clocks ----------------------------------------------------------------------------------------


def test_a_published_clock_stands_at_its_start_until_somebody_leads_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made(tmp_path)
    assert "stands at Friday 2026-11-20 09:20:00 New York" in capsys.readouterr().out
    followed = MarketClock.load(path)
    assert followed.now_utc() == at_exchange(FRIDAY, time(9, 20)) == followed.segment.horizon_utc
    led_clock(real(), path).follow(60.0)
    assert followed.rate == 60.0


def test_a_published_clock_with_a_rate_runs_without_a_leader(tmp_path: Path) -> None:
    followed = MarketClock.load(made(tmp_path, "2026-11-20 09:20:00", "--rate", "5"))
    assert followed.rate == 5.0
    assert followed.segment.horizon_utc > at_exchange(MONDAY, time(0))


def test_a_clock_is_never_written_over_another_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = made(tmp_path)
    assert main(["sim", "clock", "--clock", str(path), "--start", "10:00:00"]) == 2
    assert capsys.readouterr().err == f"{path} is there already; remove it, or name another file.\n"


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("2026-11-21 10:00:00", "2026-11-21 is no session of the exchange (weekend)."),
        ("2026-11-26 10:00:00", "2026-11-26 is no session of the exchange (Thanksgiving Day)."),
        ("2026-13-01 10:00:00", "--start: "),
        ("25:00:00", "--start: "),
    ],
)
def test_a_start_that_is_no_instant_of_a_session_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], start: str, said: str
) -> None:
    assert main(["sim", "clock", "--clock", str(tmp_path / "clock"), "--start", start]) == 2
    error = capsys.readouterr().err
    assert error.startswith(said)
    assert error.count("\n") == 1
    assert not (tmp_path / "clock").exists()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"trading_mode": "live"}, "live money"),
        ({"broker": {"gateways": [{"host": "10.0.0.8", "port": 4002}]}}, "10.0.0.8 is not this machine"),
        ({"broker": {"gateways": [{"host": "gateway.example", "port": 4002}]}}, "gateway.example is not this machine"),
        ({"feed": {"negotiate_url": "https://api.gex.bot/v2/negotiate"}}, "api.gex.bot is not this machine"),
    ],
)
def test_a_led_clock_is_refused_for_live_money_and_for_any_server_of_another_machine(
    tmp_path: Path, overrides: dict[str, Any], said: str
) -> None:
    path = made(tmp_path)
    with pytest.raises(CommandError) as refused:
        led_clock(real(**overrides), path)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_clock_has_one_leader_at_a_time_and_another_one_after_it(tmp_path: Path) -> None:
    path = made(tmp_path)
    lead = (
        "import sys; from pathlib import Path; from supervision.clock import LedClock;"
        " LedClock.lead(Path(sys.argv[1])); print('leads', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", lead, str(path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "leads\n"
    with pytest.raises(CommandError, match="another process leads"):
        led_clock(real(), path)
    child.kill()
    child.communicate()
    assert led_clock(real(), path).now_utc() == at_exchange(FRIDAY, time(9, 20))


def test_a_file_that_is_no_clock_is_refused_for_leading_and_following(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clock").write_bytes(b"no clock")
    with pytest.raises(CommandError, match="cannot be led"):
        led_clock(real(), tmp_path / "clock")
    assert main(["sim", "gateway", "--clock", str(tmp_path / "clock")]) == 2
    assert "cannot be followed" in capsys.readouterr().err


def test_a_demo_makes_its_own_clock_and_a_rate_needs_one_that_is_led(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(tmp_path / "data")]
    assert main([*data, "run", "--clock", str(tmp_path / "clock")]) == 2
    assert capsys.readouterr().err.startswith("--clock: a demo day makes a clock of its own")
    assert main([*data, "run", "--profile", "real", "--rate", "5"]) == 2
    assert capsys.readouterr().err.startswith("--rate: ")


# -- servers alone ---------------------------------------------------------------------------------


def test_a_server_alone_starts_in_a_session_whatever_the_hour_and_says_so() -> None:
    assert start_of(None) == (None, "10:00:00")
    settings = load_settings(profile="demo")
    begun = at_exchange(settings.demo.session, time(10))
    assert market_text(settings, begun) == "Friday 2026-11-20 10:00:00 New York: in a session until 16:00:00"
    assert "CLOSED until Monday 2026-11-23 09:30:00" in market_text(settings, at_exchange(FRIDAY, time(20)))
    assert "CLOSED until Friday 2026-11-20 09:30:00" in market_text(settings, at_exchange(FRIDAY, time(9)))


def arguments(what: str, **more: Any) -> Namespace:
    given = {
        "what": what, "config": None, "data": None, "host": "127.0.0.1", "port": 0, "run_folder": None, "seed": None,
        "rate": None, "clock": None, "start": None, "faults": None,
    }  # fmt: skip
    return Namespace(**(given | more))


def test_a_server_that_follows_a_clock_has_the_session_of_its_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[tuple[date, Utc]] = []

    async def serve(settings: Settings, clock: MarketClock, _: Namespace) -> None:
        served.append((settings.demo.session, clock.now_utc()))

    monkeypatch.setattr(sim, "_serve_gateway", serve)
    sim.act(arguments("gateway", clock=made(tmp_path, "2026-11-27 09:00:00")))
    (tmp_path / "clock").unlink()
    LedClock.begin(tmp_path / "clock", at_exchange(date(2026, 11, 28), time(12)))
    sim.act(arguments("gateway", clock=tmp_path / "clock"))
    assert [session for session, _ in served] == [date(2026, 11, 27), date(2026, 11, 30)]
    sim.act(arguments("gateway"))
    assert served[-1][0] == FRIDAY
    assert served[-1][1] >= at_exchange(FRIDAY, time(10))


def test_sessions_follow_each_other_over_weekends_holidays_and_closures() -> None:
    assert session_at(at_exchange(date(2026, 11, 21), time(3))).session == MONDAY
    assert session_after(session_at(at_exchange(date(2026, 11, 25), time(3)))).session == date(2026, 11, 27)
    assert session_at(at_exchange(MONDAY, time(3)), [MONDAY]).session == date(2026, 11, 24)


class Real:
    """A monotonic time that passes with every pause, so that a night takes no real one."""

    ns = 0

    def __call__(self) -> int:
        return self.ns


@pytest.mark.parametrize(("start", "until"), [(time(15, 59), MONDAY), (time(20), date(2026, 11, 24))])
def test_a_clock_of_its_own_skips_the_nights_but_not_the_one_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, start: time, until: date
) -> None:
    real_time, paces = Real(), []
    clock = MarketClock(Segment(0, at_exchange(FRIDAY, start), 60.0), real_time)
    clock.on_change.append(lambda: paces.append((clock.now_utc(), clock.rate)))

    async def pause(seconds: float) -> None:
        real_time.ns += max(1, round(seconds * SECOND))
        if len(paces) == 2:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", pause)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(skip_nights(clock, 60.0))
    (left_utc, fast), (there_utc, slow) = paces
    skipped_from = FRIDAY if until == MONDAY else MONDAY
    assert 0 <= left_utc - at_exchange(skipped_from, time(16, 10)) < MINUTE
    assert fast > 1_000
    assert (there_utc, slow) == (at_exchange(until, time(9, 30)), 60.0)
