"""The feed: one negotiation at a time, addresses to all hubs, pauses and breaker, memberships."""

from __future__ import annotations

from typing import Any

import pytest

from actors.feed import FeedActor
from domain.instants import SECOND
from domain.signals.feed_rules import in_priority, packed, pause_ns
from messages import market, operator
from supervision.effects import SetTimer
from tests.testkit.signal_histories import SETTINGS, History, clock, started, told

HUBS = tuple(SETTINGS.feed.hubs)
NOW = clock(9, 0)


def negotiated(epoch: int, hubs: tuple[str, ...] = HUBS) -> market.Negotiated:
    return market.Negotiated(feed_epoch=epoch, hubs=hubs, token_until_utc=NOW + 900 * SECOND)


def failed(epoch: int, *, is_final: bool = False) -> market.NegotiateFailed:
    return market.NegotiateFailed(feed_epoch=epoch, why="the vendor could not be reached.", is_final=is_final)


def wanted(epoch: int, hub: str = "classic") -> market.AddressWanted:
    return market.AddressWanted(hub=hub, feed_epoch=epoch)


def begun(incarnation: int = 1) -> tuple[History, int]:
    history = History(FeedActor("feed", SETTINGS), NOW)
    effects = history.hear(started("feed", incarnation))
    return history, epoch_of(effects)


def epoch_of(effects: list[Any]) -> int:
    (command,) = told(effects, market.Negotiate, "port:feed")
    return int(command.feed_epoch)


def in_force() -> tuple[History, int]:
    history, epoch = begun()
    history.hear(negotiated(epoch))
    return history, epoch


def test_it_negotiates_every_group_at_the_start() -> None:
    history, _ = begun()
    (command,) = told(History(history.actor, NOW).hear(started("feed")), market.Negotiate)
    assert len(command.groups) == 8 * 14 + 1
    assert "SPX_classic_gex_zero" in command.groups
    assert [g for g in command.groups if g.startswith("VIX")] == ["VIX_spot"]


def test_every_hub_gets_the_address_of_the_epoch() -> None:
    history, epoch = begun()
    effects = history.hear(negotiated(epoch))
    assert {e.to for e in effects} == {f"hub:{hub}" for hub in HUBS}
    assert {m.feed_epoch for m in told(effects, market.HubAddress)} == {epoch}


def test_a_hub_without_an_address_is_named() -> None:
    history, epoch = begun()
    effects = history.hear(negotiated(epoch, HUBS[1:]))
    assert len(told(effects, market.HubAddress)) == len(HUBS) - 1
    assert any("classic" in alarm.text for alarm in told(effects, operator.Alarm))


def test_all_hubs_that_want_an_address_cause_one_renegotiation_and_all_hubs_take_it() -> None:
    history, epoch = in_force()
    later = NOW + 600 * SECOND
    effects = [e for hub in HUBS for e in history.hear(wanted(epoch, hub), later)]
    again = epoch_of(effects)
    assert again == epoch + 1
    effects = history.hear(negotiated(again))
    assert {e.to for e in effects} == {f"hub:{hub}" for hub in HUBS}


def test_a_wish_for_an_older_epoch_renegotiates_nothing_and_gets_the_address_in_force() -> None:
    history, epoch = in_force()
    effects = history.hear(wanted(epoch - 1), NOW + 600 * SECOND)
    assert not told(effects, market.Negotiate)
    assert [(e.to, e.message.feed_epoch) for e in effects] == [("hub:classic", epoch)]


def test_answers_of_an_older_epoch_are_ignored() -> None:
    history, epoch = begun()
    assert history.hear(negotiated(epoch - 1)) == []
    assert history.hear(failed(epoch - 1)) == []


def test_a_retry_timer_of_an_older_epoch_does_nothing() -> None:
    history, epoch = in_force()
    assert history.fire(f"retry:{epoch - 1}", NOW) == []


def test_failures_wait_2_4_8_16_then_the_breaker_and_each_is_told_once_to_a_person() -> None:
    history, epoch = begun()
    waits = []
    for _ in range(6):
        effects = history.hear(failed(epoch))
        (timer,) = [e for e in effects if isinstance(e, SetTimer)]
        assert len(told(effects, operator.Alarm, "notifier")) == 1
        waits.append((timer.at_utc - history.now) // SECOND)
        epoch = epoch_of(history.fire(timer.key, timer.at_utc))
    assert waits == [2, 4, 8, 16, 300, 300]


def test_a_final_refusal_waits_as_long_as_the_breaker() -> None:
    history, epoch = begun()
    (timer,) = [e for e in history.hear(failed(epoch, is_final=True)) if isinstance(e, SetTimer)]
    assert timer.at_utc == NOW + 300 * SECOND


def test_addresses_that_do_not_last_are_not_renegotiated_at_network_speed() -> None:
    history, epoch = in_force()
    effects = history.hear(wanted(epoch), NOW + 1 * SECOND)
    assert not told(effects, market.Negotiate)
    (timer,) = [e for e in effects if isinstance(e, SetTimer)]
    assert timer.at_utc == NOW + 3 * SECOND
    assert history.hear(wanted(epoch, "orderflow"), NOW + 2 * SECOND) == []
    assert epoch_of(history.fire(timer.key, timer.at_utc)) == epoch + 1


def test_a_restarted_feed_uses_a_higher_epoch() -> None:
    _, first = begun(1)
    _, second = begun(2)
    assert second > first + 500


def test_what_does_not_fit_into_a_key_is_named_and_no_ticker_is_cut_in_half() -> None:
    tickers = tuple(f"T{n}" for n in range(11))
    rules_max = SETTINGS.feed.rules.memberships_max
    found = packed((*tickers, "SPX"), ("VIX",), SETTINGS.feed.hubs, rules_max)
    assert found.left_out == ("T9", "T10")
    assert len(found.groups) == 10 * 14 + 1
    assert found.groups[:2] == ("SPX_spot", "SPX_classic_gex_full")
    settings = SETTINGS.model_copy(update={"tickers": (*tickers, "SPX")})
    (alarm,) = told(History(FeedActor("feed", settings), NOW).hear(started("feed")), operator.Alarm, "notifier")
    assert "T9, T10" in alarm.text


def test_tickers_are_served_in_the_order_of_priority() -> None:
    assert in_priority(("NVDA", "VIX", "QQQ", "AAPL", "SPX")) == ("SPX", "QQQ", "VIX", "NVDA", "AAPL")


@pytest.mark.parametrize(("attempts", "seconds"), [(0, 0), (1, 2), (2, 4), (3, 8), (4, 16), (5, 300), (9, 300)])
def test_pauses_double_and_the_breaker_opens(attempts: int, seconds: int) -> None:
    assert pause_ns(attempts, SETTINGS.feed.rules) == seconds * SECOND
