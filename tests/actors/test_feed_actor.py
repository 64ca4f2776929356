"""The feed: one negotiation at a time, addresses to all hubs, pauses and breaker, memberships."""

from __future__ import annotations

import dataclasses

import pytest
from msgspec import structs

from actors.feed import FeedActor, FeedState, Timer
from domain.instants import SECOND
from domain.signals.feed_rules import in_priority, packed, pause_ns
from messages import market, operator
from tests.testkit.probe import Outbox, Probe
from tests.testkit.signal_histories import SETTINGS, clock, fired

HUBS = tuple(SETTINGS.feed.hubs)
NOW = clock(9, 0)


def negotiated(epoch: int, hubs: tuple[str, ...] = HUBS) -> market.Negotiated:
    return market.Negotiated(feed_epoch=epoch, hubs=hubs, token_until_utc=NOW + 900 * SECOND)


def failed(epoch: int, *, is_final: bool = False) -> market.NegotiateFailed:
    return market.NegotiateFailed(feed_epoch=epoch, why="the vendor could not be reached.", is_final=is_final)


def request(epoch: int, hub: str = "classic", failures: int = 0) -> market.RequestAddress:
    return market.RequestAddress(hub=hub, feed_epoch=epoch, failures=failures)


def up(epoch: int, hub: str) -> market.HubUp:
    return market.HubUp(hub=hub, feed_epoch=epoch, recovered=False)


def begun(incarnation: int = 1) -> tuple[Probe[FeedState], int]:
    probe = Probe(FeedActor("feed", SETTINGS), NOW)
    return probe, epoch_of(probe.start(incarnation=incarnation))


def epoch_of(out: Outbox) -> int:
    (command,) = out.told(market.Negotiate, "port:feed")
    return command.feed_epoch


def in_force() -> tuple[Probe[FeedState], int]:
    probe, epoch = begun()
    probe.feed(negotiated(epoch))
    return probe, epoch


def test_it_negotiates_every_group_at_the_start() -> None:
    probe, _ = begun()
    (command,) = probe.sent.told(market.Negotiate)
    assert len(command.groups) == 8 * 14 + 1
    assert "SPX_classic_gex_zero" in command.groups
    assert [g for g in command.groups if g.startswith("VIX")] == ["VIX_spot"]


def test_every_hub_gets_the_address_of_the_epoch() -> None:
    probe, epoch = begun()
    out = probe.feed(negotiated(epoch))
    assert out.recipients(market.UseAddress) == [f"hub:{hub}" for hub in HUBS]
    assert {m.feed_epoch for m in out.told(market.UseAddress)} == {epoch}


def test_a_hub_without_an_address_is_named() -> None:
    probe, epoch = begun()
    out = probe.feed(negotiated(epoch, HUBS[1:]))
    assert len(out.told(market.UseAddress)) == len(HUBS) - 1
    assert any("classic" in alarm.text for alarm in out.published(operator.Alarm))


def test_all_hubs_that_request_an_address_cause_one_renegotiation_and_all_hubs_take_it() -> None:
    probe, epoch = in_force()
    later = NOW + 600 * SECOND
    again = epoch_of(Outbox([e for hub in HUBS for e in probe.feed(request(epoch, hub), later).effects]))
    assert again == epoch + 1
    assert probe.feed(negotiated(again)).recipients(market.UseAddress) == [f"hub:{hub}" for hub in HUBS]


def test_a_request_of_an_older_epoch_renegotiates_nothing_and_gets_the_address_in_force() -> None:
    probe, epoch = in_force()
    out = probe.feed(request(epoch - 1), NOW + 600 * SECOND)
    assert not out.told(market.Negotiate)
    assert [m.feed_epoch for m in out.told(market.UseAddress, "hub:classic")] == [epoch]


def test_answers_of_an_older_epoch_are_ignored() -> None:
    probe, epoch = begun()
    assert probe.feed(negotiated(epoch - 1)).effects == []
    assert probe.feed(failed(epoch - 1)).effects == []


def test_a_retry_timer_of_an_older_epoch_does_nothing() -> None:
    probe, epoch = in_force()
    assert probe.feed(fired(Timer.RETRY, f"0:{epoch - 1}")).effects == []


def test_failures_wait_2_4_8_16_then_the_breaker_and_each_is_told_once_to_a_person() -> None:
    probe, epoch = begun()
    waits = []
    for _ in range(6):
        assert len(probe.feed(failed(epoch)).published(operator.Alarm)) == 1
        waits.append((probe.timers[Timer.RETRY, f"0:{epoch}"] - probe.now) // SECOND)
        epoch = epoch_of(probe.fire(Timer.RETRY, f"0:{epoch}"))
    assert waits == [2, 4, 8, 16, 300, 300]


def test_a_final_refusal_waits_as_long_as_the_breaker() -> None:
    probe, epoch = begun()
    probe.feed(failed(epoch, is_final=True))
    assert probe.timers == {(Timer.RETRY, f"0:{epoch}"): NOW + 300 * SECOND}


def test_addresses_that_do_not_last_are_not_renegotiated_at_network_speed() -> None:
    probe, epoch = in_force()
    assert not probe.feed(request(epoch), NOW + 1 * SECOND).told(market.Negotiate)
    assert probe.timers == {(Timer.RETRY, f"0:{epoch}"): NOW + 3 * SECOND}
    assert probe.feed(request(epoch, "orderflow"), NOW + 2 * SECOND).effects == []
    assert epoch_of(probe.fire(Timer.RETRY, f"0:{epoch}")) == epoch + 1


def test_a_restarted_feed_uses_a_higher_epoch() -> None:
    _, first = begun(1)
    _, second = begun(2)
    assert second > first + 500


def test_what_does_not_fit_into_a_key_is_named_and_no_ticker_is_cut_in_half() -> None:
    tickers = tuple(f"T{n}" for n in range(11))
    rules_max = SETTINGS.feed.rules.memberships_max
    found = packed((*tickers, "SPX"), ("VIX",), SETTINGS.feed.hubs, rules_max)
    assert found.left_out == ("T9", "T10")
    (groups,) = found.groups
    assert len(groups) == 10 * 14 + 1
    assert groups[:2] == ("SPX_spot", "SPX_classic_gex_full")
    settings = SETTINGS.model_copy(update={"tickers": (*tickers, "SPX")})
    (alarm,) = Probe(FeedActor("feed", settings), NOW).start().published(operator.Alarm)
    assert "T9, T10" in alarm.text


def test_39_tickers_go_with_four_keys_and_each_key_negotiates_and_dials_for_itself() -> None:
    tickers = tuple(f"T{n}" for n in range(39))
    keys = tuple(f"KEY_{n}" for n in range(5))
    settings = SETTINGS.model_copy(
        update={"tickers": tickers, "spot_only": (), "feed": dataclasses.replace(SETTINGS.feed, keys=keys)}
    )
    probe = Probe(FeedActor("feed", settings), NOW)
    commands = probe.start().told(market.Negotiate)
    assert [(c.key_n, len(c.groups)) for c in commands] == [(0, 140), (1, 140), (2, 140), (3, 126)]
    assert not probe.sent.published(operator.Alarm), "the fifth key is to spare"
    second = commands[1]
    out = probe.feed(structs.replace(negotiated(second.feed_epoch), key_n=1))
    assert {m.key_n for m in out.told(market.UseAddress)} == {1}
    again = probe.feed(structs.replace(request(second.feed_epoch), key_n=1), NOW + 600 * SECOND).told(market.Negotiate)
    assert [c.key_n for c in again] == [1], "the other keys' sessions stand"


def test_a_hub_that_fails_for_ever_does_not_end_the_sessions_of_the_healthy_ones() -> None:
    probe, epoch = in_force()
    for hub in HUBS[1:]:
        probe.feed(up(epoch, hub))
    at = NOW + 1000 * SECOND
    assert not probe.feed(request(epoch, "classic", failures=5), at).told(market.Negotiate)
    assert probe.timers[Timer.RETRY, f"0:{epoch}"] >= NOW + 3600 * SECOND
    healthy = probe.feed(request(epoch, HUBS[1]), at + SECOND)
    assert len(healthy.told(market.Negotiate)) == 1, "a healthy hub that lost its session is not made to wait"


def test_when_no_hub_is_up_a_broken_breaker_does_not_hold_up_the_next_address() -> None:
    probe, epoch = in_force()
    for hub in HUBS:
        probe.feed(up(epoch, hub))
        probe.feed(market.HubDown(hub=hub, feed_epoch=epoch, cause="lost", can_reuse=True))
    assert len(probe.feed(request(epoch, failures=9), NOW + 1000 * SECOND).told(market.Negotiate)) == 1


def test_tickers_are_served_in_the_order_of_priority() -> None:
    assert in_priority(("NVDA", "VIX", "QQQ", "AAPL", "SPX")) == ("SPX", "QQQ", "VIX", "NVDA", "AAPL")


@pytest.mark.parametrize(("attempts", "seconds"), [(0, 0), (1, 2), (2, 4), (3, 8), (4, 16), (5, 300), (9, 300)])
def test_pauses_double_and_the_breaker_opens(attempts: int, seconds: int) -> None:
    assert pause_ns(attempts, SETTINGS.feed.rules) == seconds * SECOND
