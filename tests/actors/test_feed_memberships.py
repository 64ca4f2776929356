"""What a key has joined follows the date: over a night without a new address, and again where a session is fresh."""

from __future__ import annotations

from datetime import date

import pytest

from actors.feed import FeedActor, FeedState, Timer
from config.settings import Settings, SettingsError, load_settings
from domain.instants import SECOND
from domain.session.calendar import next_midnight
from domain.signals.feed_rules import at_expiry, expiry_on, memberships
from domain.units import Utc
from messages import market, operator
from tests.testkit.probe import Outbox, Probe

FRIDAY, MONDAY = date(2026, 11, 20), date(2026, 11, 23)
NOW = next_midnight(date(2026, 11, 19)) + 9 * 3_600 * SECOND
HUBS = {"classic": ["classic_gex_zero"], "state_greeks": ["state_gamma_today", "state_charm_today"]}


def settings(protocol: str = "v2") -> Settings:
    feed = {"hubs": {hub: [] for hub in load_settings(profile="demo").feed.hubs} | HUBS, "protocol": protocol}
    return load_settings(profile="demo", overrides={"feed": feed, "tickers": ["SPX", "QQQ"]})


def in_force(protocol: str = "v2") -> Probe[FeedState]:
    probe = Probe(FeedActor("feed", settings(protocol)), NOW)
    (asked,) = probe.start().told(market.Negotiate)
    probe.feed(
        market.Negotiated(feed_epoch=asked.feed_epoch, hubs=tuple(HUBS), token_until_utc=Utc(NOW + 900 * SECOND))
    )
    return probe


def patched(out: Outbox) -> market.PatchMemberships:
    (command,) = out.told(market.PatchMemberships, "port:feed")
    return command


def to_monday(probe: Probe[FeedState]) -> Outbox:
    """Let Saturday begin, whose expiry is Monday's."""
    return probe.advance(next_midnight(FRIDAY))


def dates_in(groups: tuple[str, ...]) -> set[str]:
    return {group[-8:] for group in groups if group[-8:].isdigit()}


def test_what_is_negotiated_names_the_date() -> None:
    (asked,) = in_force().sent.told(market.Negotiate)
    assert dates_in(asked.groups) == {"20261120"}
    assert "SPX_state_gamma_20261120" in asked.groups


def test_over_a_night_the_groups_of_the_next_expiry_are_joined_and_nobody_dials() -> None:
    probe = in_force()
    probe.sent.effects.clear()
    to_monday(probe)
    command = patched(probe.sent)
    assert dates_in(tuple(group for _, group in command.memberships)) == {"20261123"}
    assert ("state_greeks", "QQQ_state_charm_20261123") in command.memberships
    assert ("classic", "SPX_classic_gex_zero") in command.memberships, "a change replaces all of them"
    assert not probe.sent.told(market.Negotiate)
    assert not probe.sent.told(market.UseAddress)


def test_as_many_are_to_be_changed_as_hubs_that_stand_have_joined() -> None:
    probe = in_force()
    probe.feed(market.HubUp(hub="classic", feed_epoch=probe.state.keys[0].feed_epoch, recovered=False))
    to_monday(probe)
    command = patched(probe.sent)
    assert command.standing_n == sum(hub == "classic" for hub, _ in command.memberships) > 0


def test_over_a_weekend_they_are_changed_once() -> None:
    probe = in_force()
    probe.sent.effects.clear()
    for day in (20, 21, 22):
        probe.advance(next_midnight(date(2026, 11, day)))
    assert len(probe.sent.told(market.PatchMemberships)) == 1
    probe.advance(next_midnight(MONDAY))
    assert len(probe.sent.told(market.PatchMemberships)) == 2


def test_without_categories_of_today_no_timer_is_armed_and_nothing_is_changed() -> None:
    probe = Probe(FeedActor("feed", load_settings(profile="demo")), NOW)
    (asked,) = probe.start().told(market.Negotiate)
    assert not probe.timers
    probe.feed(market.Negotiated(feed_epoch=asked.feed_epoch, hubs=("classic",), token_until_utc=Utc(NOW + SECOND)))
    probe.feed(market.HubUp(hub="classic", feed_epoch=asked.feed_epoch, recovered=False))
    assert not probe.sent.told(market.PatchMemberships)


@pytest.mark.parametrize("recovered", [True, False])
def test_a_session_that_was_not_recovered_has_joined_what_was_negotiated(recovered: bool) -> None:
    probe = in_force()
    to_monday(probe)
    epoch = patched(probe.sent).feed_epoch
    probe.feed(market.MembershipsPatched(feed_epoch=epoch, updated_n=6))
    out = probe.feed(market.HubUp(hub="classic", feed_epoch=epoch, recovered=recovered))
    assert bool(out.told(market.PatchMemberships)) is not recovered


def test_an_answer_to_a_negotiation_that_comes_after_midnight_is_put_right() -> None:
    probe = Probe(FeedActor("feed", settings()), NOW)
    (asked,) = probe.start().told(market.Negotiate)
    to_monday(probe)
    assert not probe.sent.told(market.PatchMemberships), "the answer is on its way"
    later = Utc(probe.now + SECOND)
    out = probe.feed(market.Negotiated(feed_epoch=asked.feed_epoch, hubs=tuple(HUBS), token_until_utc=later))
    assert dates_in(tuple(group for _, group in patched(out).memberships)) == {"20261123"}


def refused(epoch: int, *, is_final: bool = False) -> market.PatchFailed:
    return market.PatchFailed(feed_epoch=epoch, why="the vendor refused with 503.", is_final=is_final)


def test_a_refusal_is_said_and_asked_again_with_growing_pauses_then_negotiated_afresh() -> None:
    probe = in_force()
    to_monday(probe)
    epoch, waits = patched(probe.sent).feed_epoch, []
    for _ in range(4):
        assert "key 1" in probe.feed(refused(epoch)).published(operator.Alarm)[0].text
        waits.append((probe.timers[Timer.PATCH, f"0:{epoch}"] - probe.now) // SECOND)
        assert patched(probe.fire(Timer.PATCH, f"0:{epoch}")).feed_epoch == epoch
    assert waits == [2, 4, 8, 16]
    (fresh,) = probe.feed(refused(epoch)).told(market.Negotiate)
    assert (fresh.feed_epoch, dates_in(fresh.groups)) == (epoch + 1, {"20261123"})


def test_a_final_refusal_waits_as_long_as_the_breaker() -> None:
    probe = in_force()
    to_monday(probe)
    epoch = patched(probe.sent).feed_epoch
    probe.feed(refused(epoch, is_final=True))
    assert probe.timers[Timer.PATCH, f"0:{epoch}"] - probe.now == 300 * SECOND


def test_answers_of_an_epoch_that_is_over_change_nothing() -> None:
    probe = in_force()
    to_monday(probe)
    epoch = patched(probe.sent).feed_epoch
    assert probe.feed(refused(epoch - 1)).effects == []
    assert probe.feed(market.MembershipsPatched(feed_epoch=epoch - 1, updated_n=1)).effects == []


def test_the_older_protocol_has_no_change_of_memberships_and_negotiates() -> None:
    probe = in_force("legacy")
    probe.sent.effects.clear()
    to_monday(probe)
    (asked,) = probe.sent.told(market.Negotiate)
    assert dates_in(asked.groups) == {"20261123"}
    assert not probe.sent.told(market.PatchMemberships)


def test_a_spot_is_joined_on_every_hub_where_there_is_room_else_on_the_first() -> None:
    groups = ("SPX_spot", "SPX_classic_gex_zero", "SPX_state_gamma_today", "SPX_state_charm_today", "VIX_spot")
    wide = memberships(groups, HUBS, FRIDAY, 150)
    assert [pair for pair in wide if pair[1].endswith("_spot")] == [
        ("classic", "SPX_spot"), ("state_greeks", "SPX_spot"), ("classic", "VIX_spot"),
    ]  # fmt: skip
    narrow = memberships(groups, HUBS, FRIDAY, 5)
    assert [pair for pair in narrow if pair[1].endswith("_spot")] == [("classic", "SPX_spot"), ("classic", "VIX_spot")]


def test_todays_expiry_is_the_next_session_where_there_is_none() -> None:
    assert expiry_on(FRIDAY) == FRIDAY
    assert expiry_on(date(2026, 11, 21)) == MONDAY
    assert expiry_on(date(2026, 11, 26)) == date(2026, 11, 27), "Thanksgiving"
    assert at_expiry("SPX_state_gamma_today", MONDAY) == "SPX_state_gamma_20261123"
    assert at_expiry("SPX_state_gamma_zero", MONDAY) == "SPX_state_gamma_zero"


def test_a_source_without_hubs_has_no_category_of_today() -> None:
    given = {"source": "rest", "hubs": {"state_greeks": ["state_gamma_today"]}}
    with pytest.raises(SettingsError, match=r"what feed.source hubs alone delivers"):
        load_settings(profile="demo", overrides={"feed": given})
