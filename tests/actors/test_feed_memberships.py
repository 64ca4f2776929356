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


# -- what a person changes ----------------------------------------------------------------------

KEPT = {hub: tuple(categories) for hub, categories in settings().feed.hubs.items()}
WANTED = KEPT | {"classic": ("classic_gex_zero", "classic_gex_full"), "state_greeks": ("state_gamma_today",)}


def asked_for(
    probe: Probe[FeedState], hubs: dict[str, tuple[str, ...]] | None = None, command_id: str = "m1"
) -> Outbox:
    return probe.feed(market.ChangeMemberships(command_id=command_id, hubs=WANTED if hubs is None else hubs))


def answered(probe: Probe[FeedState], key_n: int = 0) -> Outbox:
    epoch = probe.state.keys[key_n].feed_epoch
    return probe.feed(market.MembershipsPatched(feed_epoch=epoch, updated_n=9, key_n=key_n))


def declined(probe: Probe[FeedState], key_n: int = 0) -> Outbox:
    epoch = probe.state.keys[key_n].feed_epoch
    return probe.feed(market.PatchFailed(feed_epoch=epoch, why="not in the tier.", is_final=True, key_n=key_n))


def changed(out: Outbox) -> list[dict[str, tuple[str, ...]]]:
    return [dict(event.hubs) for event in out.published(market.MembershipsChanged)]


def test_other_categories_are_joined_on_the_sessions_that_stand_and_both_are_taken_until_they_are() -> None:
    probe = in_force()
    out = asked_for(probe)
    groups = {group for _, group in patched(out).memberships}
    assert {"SPX_classic_gex_full", "SPX_classic_gex_zero", "QQQ_state_gamma_20261120"} <= groups
    assert not any("charm" in group for group in groups)
    (both,) = changed(out)
    assert set(both["state_greeks"]) == {"state_gamma_today", "state_charm_today"}
    assert set(both["classic"]) == {"classic_gex_zero", "classic_gex_full"}
    assert not out.told(operator.CommandDone)
    done = answered(probe)
    assert changed(done) == [WANTED]
    (answer,) = done.told(operator.CommandDone, "operator")
    assert answer.detail == "Joined: classic_gex_full. Left: state_charm_today."
    assert not any(one.told(market.UseAddress) or one.told(market.Negotiate) for one in (out, done)), "nobody dials"


def test_what_is_changed_is_what_is_negotiated_next_and_joined_anew_on_a_fresh_session() -> None:
    probe = in_force()
    asked_for(probe)
    answered(probe)
    up = market.HubUp(hub="classic", feed_epoch=probe.state.keys[0].feed_epoch, recovered=False)
    assert "SPX_classic_gex_full" in {group for _, group in patched(probe.feed(up)).memberships}
    request = market.RequestAddress(hub="classic", feed_epoch=probe.state.keys[0].feed_epoch, failures=1)
    probe.feed(request, Utc(NOW + 900 * SECOND))
    negotiated = probe.sent.told(market.Negotiate)[-1]
    assert "SPX_classic_gex_full" in negotiated.groups
    assert not any("charm" in group for group in negotiated.groups)


def test_a_change_that_one_key_refuses_is_taken_back_on_all_and_no_address_is_asked_for() -> None:
    probe = in_force()
    asked_for(probe)
    out = declined(probe)
    assert changed(out) == [KEPT]
    groups = {group for _, group in patched(out).memberships}
    assert "SPX_classic_gex_full" not in groups and "SPX_state_charm_20261120" in groups
    (denied,) = out.told(operator.CommandDenied, "operator")
    assert denied.detail.startswith("The vendor did not change it, and it stays as it was: not in the tier. Whatever")
    assert probe.state.hubs == KEPT
    assert len(probe.sent.told(market.Negotiate)) == 1
    assert not answered(probe).effects


def test_a_renegotiation_that_fails_under_a_change_takes_it_back() -> None:
    probe = in_force()
    asked_for(probe)
    request = market.RequestAddress(hub="classic", feed_epoch=probe.state.keys[0].feed_epoch, failures=1)
    probe.feed(request, Utc(NOW + 900 * SECOND))
    epoch = probe.state.keys[0].feed_epoch
    out = probe.feed(market.NegotiateFailed(feed_epoch=epoch, why="403", is_final=True))
    assert changed(out) == [KEPT]
    assert out.told(operator.CommandDenied, "operator")
    probe.advance(Utc(NOW + 2_000 * SECOND))
    assert "SPX_classic_gex_full" not in probe.sent.told(market.Negotiate)[-1].groups


@pytest.mark.parametrize(
    ("hubs", "why"),
    [
        (KEPT, "joined exactly these categories already"),
        (KEPT | {"other": ("classic_gex_one",)}, "Hubs come and go with a start: other"),
        ({"classic": ("classic_gex_zero",)}, "Hubs come and go with a start: "),
        (KEPT | {"orderflow": tuple(f"state_gex_202612{n:02}" for n in range(1, 31))}, "need other keys"),
    ],
)  # fmt: skip
def test_what_needs_a_start_is_refused_with_its_reason(hubs: dict[str, tuple[str, ...]], why: str) -> None:
    probe = Probe(FeedActor("feed", settings_of_five_tickers()), NOW)
    (asked,) = probe.start().told(market.Negotiate)
    token = Utc(NOW + 900 * SECOND)
    probe.feed(market.Negotiated(feed_epoch=asked.feed_epoch, hubs=tuple(HUBS), token_until_utc=token))
    out = asked_for(probe, hubs)
    (denied,) = out.told(operator.CommandDenied, "operator")
    assert why in denied.detail and denied.detail.endswith("is in force with the next start.")
    assert not out.told(market.PatchMemberships) and not changed(out)


def settings_of_five_tickers() -> Settings:
    return settings().model_copy(update={"tickers": ("SPX", "SPY", "QQQ", "IWM", "NDX"), "spot_only": ()})


def test_nothing_is_changed_beside_another_change_or_without_addresses_or_by_the_older_protocol() -> None:
    probe = in_force()
    asked_for(probe)
    (busy,) = asked_for(probe, KEPT, "m2").told(operator.CommandDenied, "operator")
    assert (busy.command_id, busy.detail[:26]) == ("m2", "Another change is under wa")
    dialling = Probe(FeedActor("feed", settings()), NOW)
    dialling.start()
    (without,) = asked_for(dialling).told(operator.CommandDenied, "operator")
    assert "no addresses now" in without.detail
    (older,) = asked_for(in_force("legacy")).told(operator.CommandDenied, "operator")
    assert "feed.protocol v2" in older.detail
