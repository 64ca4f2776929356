"""The screen of `status`: whole in 80 columns, and it says what a window is too small for."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from actors.ibkr.state import IBKRState
from commands.cli import main
from commands.requests import gateways_seen
from commands.status import screen
from domain.instants import SECOND
from domain.session.dialling import LinkState
from domain.session.gateway_health import GatewayHealth

ACTORS = ["supervisor", "position:paper:1234567890", *(f"lane:gexwatch:T{n}" for n in range(28))]


def status(**process: Any) -> dict[str, Any]:
    facts = {
        "run_n": 1, "at_utc": 1_795_186_800_000_000_000, "latched": None, "ended": None, "dead_letters": 0,
        "trace_bytes": 7_000_000_000, "trace_failed": None, "uptime_s": 86_399, "rss_mb": 1024, "threads": 120,
    }  # fmt: skip
    actors = [
        {
            "name": name, "is_up": True, "depth": 12_345, "conflated": 7, "oldest_ms": 9_999, "handled": 12_345_678,
            "crashes": 3, "p50_us": 14, "p99_us": 12_345, "last_tag": "broker.OrderStatusReported",
        }
        for name in ACTORS
    ]  # fmt: skip
    hub = {
        "hub": "state_greeks_zero", "last_utc": 1_795_186_799_000_000_000, "rate_per_s": 123.4, "lag_ms": 1_234,
        "conflated": [["SPX", 12_345]],
    }  # fmt: skip
    return {"process": facts | process, "actors": actors, "hubs": [hub]}


def rendered(width: int, height: int | None = None, **process: Any) -> list[str]:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    with console.capture() as shown:
        console.print(screen(status(**process), width, height))
    return shown.get().splitlines()


@pytest.mark.parametrize("width", [80, 140])
def test_nothing_is_cut(width: int) -> None:
    lines = rendered(width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "…" not in text
    assert "None" not in text
    assert all(any(line.startswith(name) for line in lines) for name in ACTORS)
    for wanted in ("yes", "12345", "12345678", "12.3 ms"):
        assert wanted in text
    assert ("broker.OrderStatusReported" in text) is (width == 140)


def test_in_a_narrow_window_names_give_way_and_figures_stay() -> None:
    lines = rendered(60)
    assert any(line.startswith("position:") and "12345678" in line and "12.3 ms" in line for line in lines)


def test_what_is_wrong_stands_on_a_line_of_its_own() -> None:
    assert f"{7 * len(ACTORS)} quotes conflated" in " ".join(rendered(140))
    assert "latched: the disk is full" in [line.rstrip() for line in rendered(80, latched="the disk is full")]


def test_rows_that_a_window_has_no_room_for_are_counted() -> None:
    lines = rendered(80, 24)
    assert len(lines) == 24
    hidden = len(ACTORS) - sum(line.startswith(("supervisor", "position:", "lane:")) for line in lines)
    assert f"... and {hidden} more (enlarge the window)" in [line.rstrip() for line in lines]
    assert not any("enlarge" in line for line in rendered(80, 60))


def test_each_hub_has_its_rate_its_last_frame_and_its_lag() -> None:
    now = 1_795_186_800_000_000_000
    seen = status() | {
        "hubs": [
            {"hub": "classic", "frames": 9, "rate_per_s": 12.34, "last_utc": now - 400_000_000, "lag_ms": 35},
            {"hub": "orderflow", "frames": 0, "rate_per_s": 0.0, "last_utc": None, "lag_ms": None},
            {
                "hub": "provider",
                "frames": 9,
                "rate_per_s": 1.0,
                "last_utc": now,
                "lag_ms": 3,
                "conflated": [["SPY", 5], ["VIX", 7]],
            },
        ]
    }
    console = Console(width=80, file=io.StringIO(), color_system=None)
    with console.capture() as shown:
        console.print(screen(seen, 80))
    assert "hub classic: 12.3 frames/s, last 0.4 s ago, lag 35 ms" in shown.get()
    assert "hub orderflow: nothing yet" in shown.get()
    assert "hub provider: 1.0 frames/s, last 0.0 s ago, lag 3 ms, 12 conflated" in shown.get()


def test_each_gateway_has_its_state_its_round_trip_and_its_errors_however_narrow_the_window() -> None:
    text = "gateway 1 up, up 5400 s, 12 ms, 3 errors, last: heartbeat overdue (3.0 s)"
    seen = status() | {"gateways": [{"session": "ibkr:paper", "text": text}]}
    for width in (60, 140):
        console = Console(width=width, file=io.StringIO(), color_system=None)
        with console.capture() as shown:
            console.print(screen(seen, width))
        assert f"ibkr:paper: {text}" in " ".join(line.strip() for line in shown.get().splitlines())


def test_piped_it_keeps_to_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("commands.status.request", lambda *_: status())
    assert main(["status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > len(ACTORS)
    assert max(map(len, lines)) <= 80


def test_one_error_of_a_gateway_is_counted_as_one() -> None:
    row = GatewayHealth(gateway_n=0, state=LinkState.DOWN, since_utc=SECOND, errors=1, last_error="reset")
    assert row.words(SECOND) == "gateway 0 down, up 0 s, 1 error, last: reset"


def test_the_rows_of_gateways_are_those_that_each_order_session_knows() -> None:
    up = GatewayHealth(gateway_n=1, state=LinkState.UP, since_utc=0, up_before_ns=SECOND, round_trip_ms=12)
    down = GatewayHealth(gateway_n=0, state=LinkState.DOWN, since_utc=SECOND, errors=2, last_error="reset")
    states = {"ibkr:paper": IBKRState(health=(up, down)), "kill": object(), "ibkr:other": IBKRState(health=(down,))}
    runtime: Any = SimpleNamespace(
        cells={name: SimpleNamespace(name=name, state=state) for name, state in states.items()},
        clock=SimpleNamespace(now_utc=lambda: 4 * SECOND),
    )
    rows = gateways_seen(runtime)
    assert [(row["session"], row["gateway_n"], row["state"], row["errors"], row["up_s"]) for row in rows] == [
        ("ibkr:other", 0, "down", 2, 0), ("ibkr:paper", 0, "down", 2, 0), ("ibkr:paper", 1, "up", 0, 5),
    ]  # fmt: skip
    assert rows[2]["text"] == "gateway 1 up, up 5 s, 12 ms"
