"""What cuts or refuses an entry for its market, fed as a running desk is fed: by messages, not by a snapshot."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from domain.instants import MINUTE
from domain.instruments import Quote, Spot
from domain.market.correlation import Breakdown
from domain.risk.reject import RejectCode
from domain.session.phases import Phase
from domain.units import Qty, Ticks, Utc
from messages import entries, market, session
from messages.base import Message
from tests.testkit.desk_talk import DeskTalk
from tests.testkit.desk_world import CALL, CLOSE, DAY, NOW, OPEN, quote, signal

BROKEN = market.ContextRead(at_utc=NOW, session=DAY, broken=(Breakdown(("SPY", "QQQ"), 0.3, 0.9),))
USUAL = replace(BROKEN, broken=())


def vix(level: float) -> market.SpotsChanged:
    return market.SpotsChanged(spots=(Spot("VIX", Ticks(round(level * 100)), NOW),))


def wild(share: float) -> tuple[Message, ...]:
    """Return prices of a minute each that swing by a share of the index."""
    return tuple(
        market.SpotsChanged(spots=(Spot("SPX", Ticks(round(600_000 * (1 + share * (n % 2)))), Utc(NOW - n * MINUTE)),))
        for n in range(25, 6, -1)  # before the calm minutes of the morning
    )


def sized(*fed: Message, before: tuple[Message, ...] = ()) -> int | RejectCode:
    """Return the size that a desk reserves after hearing something, or the code with which it denies."""
    desk = DeskTalk().hear(*before).morning().hear(USUAL, *fed)
    desk.hear(signal()).offer()
    denied = desk.published(entries.EntryDenied)
    if denied:
        return denied[-1].code
    return desk.fresh().last(entries.ReserveEntry).legs[0].qty


@pytest.mark.parametrize(
    ("fed", "size"),
    [
        ((), 2),
        ((vix(19.9),), 2),
        ((vix(31.0),), 1),
        ((vix(45.0),), RejectCode.RISK_OVERLAY),
        ((BROKEN,), 1),
        ((vix(31.0), BROKEN), RejectCode.BAD_SIZE),  # a quarter of two is none
    ],
)
def test_the_risk_overlay_follows_what_is_told_of_vix_correlations_and_prices(
    fed: tuple[Message, ...], size: int | RejectCode
) -> None:
    assert sized(*fed) == size


def test_an_underlying_that_swings_is_not_entered() -> None:
    assert sized(before=wild(0.02)) is RejectCode.RISK_OVERLAY


def offered(given: Quote, after_open_ns: int = NOW - OPEN) -> DeskTalk:
    opened = session.PhaseChanged(
        phase=Phase.ENTRY, session=DAY, open_utc=Utc(NOW - after_open_ns), close_utc=CLOSE, at_utc=NOW
    )
    return DeskTalk().morning().hear(opened, signal()).offer((CALL, given))


def refused_for(desk: DeskTalk) -> RejectCode | None:
    """Return the code with which the one contract was refused; `None` where its fresh quote was asked for."""
    if not desk.published(entries.EntryDenied):
        assert desk.told(market.RequestQuote)
        return None
    verdicts = desk.told(entries.RecordDenial)[-1].verdicts
    return next(verdict.finding.code for verdict in verdicts if verdict.is_reject)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, None),
        ({"ask_size": Qty(1)}, RejectCode.ILLIQUID),  # for two
        ({"ask_size": Qty(2)}, None),
        ({"volume": 9, "open_interest": 99}, RejectCode.ILLIQUID),
        ({"volume": 9, "open_interest": 100}, None),
        ({"volume": 9}, None),  # where the broker tells both
    ],
)
def test_a_contract_too_thin_to_trade_is_refused_as_the_broker_tells_it(
    changes: dict[str, Any], code: RejectCode | None
) -> None:
    assert refused_for(offered(replace(quote(), **changes))) is code


@pytest.mark.parametrize(
    ("after_open_ns", "code"),
    [(6 * MINUTE, RejectCode.PREMIUM_BOUNDS), (16 * MINUTE, RejectCode.SPREAD_TOO_WIDE)],
)
def test_the_first_quarter_of_an_hour_bears_a_wider_spread(after_open_ns: int, code: RejectCode) -> None:
    wide = quote(bid=105, ask=150)  # 35 % of the mid; too cheap to be bought, which is asked next
    assert refused_for(offered(wide, after_open_ns)) is code
