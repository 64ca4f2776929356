"""Crashes, restarts, budgets, dead letters and escalation, in the stepped runtime."""

from __future__ import annotations

import pytest

from domain.instants import SECOND
from domain.risk.kill import KillLevel
from messages import lifecycle, operator, restored, risk
from messages.base import Message
from supervision.host import Host
from supervision.spec import ChildSpec, Policy, Template, Tree
from supervision.supervisor import SupervisorActor, SupervisorState
from supervision.turn import Turn
from tests.testkit.narrow import of_class
from tests.testkit.toys import (
    RULES,
    Log,
    Toy,
    ToyState,
    ToyStore,
    ToyTree,
    alarm,
    message_of,
    records,
    say,
    spec,
    stepped,
    toy_tree,
    trace_lines,
)


def toy(name: str, log: Log, **more: object) -> ChildSpec:
    return spec(name, lambda n: Toy(n, log), **more)


def ended(runtime: Host) -> str | None:
    """Return why the process should end by now."""
    return runtime.ended


def is_up(runtime: Host, name: str = "a:1") -> bool:
    """Return whether an actor is up by now."""
    return runtime.cells[name].is_up


def halts(of: ToyTree) -> list[str]:
    """Return why trading had to stop, in order."""
    return [told.text for told in of.heard["halt"]]


def test_started_comes_first_even_where_mail_was_waiting() -> None:
    log: Log = []
    h = toy_tree(toy("a:1", log), spec("z:1", lambda n: Toy(n, log, on_start="tell a:1 early")), log=log)
    stepped(h)
    assert h.texts("a:1") == ["started:1", "early"]


def test_poison_in_a_pure_actor_is_a_dead_letter_at_once_and_later_mail_is_handled_once_by_the_next_one() -> None:
    log: Log = []
    h = toy_tree(toy("a:1", log), log=log)
    runtime = stepped(h)
    for text in ("one", "raise", "two", "three"):
        runtime.post("a:1", say(text), "edge:test")
    runtime.run_until(1)
    assert h.texts("a:1") == ["started:1", "one", "raise", "started:2", "two", "three"]
    assert runtime.dead_letters == 1
    assert runtime.cells["a:1"].crashes == 1
    envelopes, handled = records(trace_lines(runtime))
    outcomes = [handled[e.seq].outcome for e in envelopes if e.to == "a:1"]
    assert outcomes == ["ok", "ok", "dead_lettered", "ok", "ok", "ok"]
    assert [(e.incarnation, e.inbox_n) for e in envelopes if e.to == "a:1"] == [
        (1, 1),
        (1, 2),
        (1, 3),
        (2, 1),
        (2, 2),
        (2, 3),
    ]


def test_failed_message_of_an_io_actor_comes_again_before_later_mail() -> None:
    log: Log = []
    failures = {"one": 2}
    h = toy_tree(spec("store:1", lambda n: ToyStore(n, log, failures)), log=log)
    runtime = stepped(h)
    runtime.post("store:1", say("one"), "edge:test")
    runtime.post("store:1", say("two"), "edge:test")
    runtime.run_until(1)
    assert h.texts("store:1") == [
        "open", "started:1", "one", "close", "open", "started:2", "one", "close", "open", "started:3", "one", "two",
    ]  # fmt: skip
    assert runtime.dead_letters == 0
    envelopes, handled = records(trace_lines(runtime))
    assert [handled[e.seq].outcome for e in envelopes if e.to == "store:1"] == [
        "ok", "crashed", "ok", "crashed", "ok", "ok", "ok",
    ]  # fmt: skip


def test_message_that_fails_max_deliveries_times_is_set_aside() -> None:
    log: Log = []
    failures = {"one": 99}
    h = toy_tree(spec("store:1", lambda n: ToyStore(n, log, failures)), log=log)
    runtime = stepped(h)
    runtime.post("store:1", say("one"), "edge:test")
    runtime.post("store:1", say("two"), "edge:test")
    runtime.run_until(1)
    assert h.texts("store:1").count("one") == 3
    assert h.texts("store:1")[-1] == "two"
    assert runtime.dead_letters == 1


def test_what_cannot_open_spends_its_budget() -> None:
    log: Log = []
    failures = {"open": 99}
    h = toy_tree(spec("store:1", lambda n: ToyStore(n, log, failures)), log=log)
    runtime = stepped(h)
    runtime.post("store:1", say("one"), "edge:test")
    runtime.run_until(1)
    assert h.texts("store:1").count("open") == 6
    assert not runtime.cells["store:1"].is_up
    assert runtime.cells["store:1"].mailbox.depth() == 1
    assert [m.text for m in h.heard["halt"]] == ["store:1 crashed 6 times in 60 s"]


@pytest.mark.parametrize("command", ["raise", "exit"])
def test_exception_or_base_exception_leaves_the_others_alone(command: str) -> None:
    log: Log = []
    h = toy_tree(toy("a:1", log), toy("b:1", log), log=log)
    runtime = stepped(h)
    runtime.post("a:1", say(command), "edge:test")
    runtime.post("b:1", say("still here"), "edge:test")
    runtime.run_until(1)
    assert h.texts("b:1") == ["started:1", "still here"]
    assert h.texts("a:1")[-1] == "started:2"


def test_undeclared_role_is_a_crash_before_anything_has_happened() -> None:
    log: Log = []
    h = toy_tree(toy("a:1", log), toy("b:1", log), log=log)
    runtime = stepped(h)
    runtime.post("a:1", say("tell b:1 half;timer k 5;tell stranger x"), "edge:test")
    runtime.run_until(10)
    assert h.texts("b:1") == ["started:1"]
    assert h.texts("a:1") == ["started:1", "tell b:1 half;timer k 5;tell stranger x", "started:2"]


def test_role_of_nobody_makes_no_dead_letter_and_a_role_of_two_reaches_both() -> None:
    log: Log = []
    h = toy_tree(toy("a:1", log), toy("b:1", log), log=log)
    runtime = stepped(h)
    runtime.post("a:1", say("tell nobody x;tell both y"), "edge:test")
    runtime.run_until(1)
    assert runtime.dead_letters == 0
    assert h.texts("a:1")[-1] == h.texts("b:1")[-1] == "y"


def test_address_of_nobody_is_a_dead_letter_on_record() -> None:
    log: Log = []
    h = toy_tree(toy("a:1", log), log=log)
    runtime = stepped(h)
    runtime.post("a:1", say("tell ghost:1 x"), "edge:test")
    runtime.run_until(1)
    assert runtime.dead_letters == 1
    envelopes, _ = records(trace_lines(runtime))
    assert [e.to for e in envelopes if e.incarnation == 0] == ["dead:ghost:1"]


def test_vital_message_that_is_lost_halts_trading_as_a_vital_loss() -> None:
    log: Log = []
    h = toy_tree(spec("a:1", Refuser), log=log)
    runtime = stepped(h)
    runtime.post("a:1", risk.RaiseKill(level=KillLevel.NO_ENTRIES, reason="x", by="test"), "edge:test")
    runtime.run_until(1)
    assert [m.topic for m in h.heard["halt"]] == ["supervisor:vital"]
    assert any("cannot handle risk.RaiseKill" in m.text for m in h.heard["notifier"])


class Refuser(Toy):
    """Fails on everything but its start."""

    def __init__(self, name: str) -> None:
        super().__init__(name, [])

    def decide(self, turn: Turn[ToyState], message: Message) -> None:
        if not isinstance(message, lifecycle.Started):
            raise TypeError(f"{type(message).__name__} is unknown")


def test_ordinary_message_that_is_lost_only_makes_an_alarm() -> None:
    log: Log = []
    h = toy_tree(toy("a:1", log), log=log)
    runtime = stepped(h)
    runtime.post("a:1", say("raise"), "edge:test")
    runtime.run_until(1)
    assert h.heard["halt"] == []
    assert {m.key for m in h.heard["notifier"]} == {"dead_letter:a:1", "crash:a:1"}


def test_spent_budget_halts_trading_and_gives_the_actor_up_and_the_others_go_on() -> None:
    log: Log = []
    h = toy_tree(toy("a:1", log), toy("b:1", log), log=log)
    runtime = stepped(h)
    for _ in range(6):
        runtime.post("a:1", say("raise"), "edge:test")
    runtime.post("a:1", say("waits for ever"), "edge:test")
    runtime.post("b:1", say("on"), "edge:test")
    runtime.run_until(1)
    assert runtime.cells["a:1"].incarnation == 6 and not runtime.cells["a:1"].is_up
    assert [(m.topic, m.text) for m in h.heard["halt"]] == [("supervisor", "a:1 crashed 6 times in 60 s")]
    assert [m.key for m in h.heard["notifier"]].count("budget:a:1") == 1
    assert h.texts("b:1")[-1] == "on"
    assert runtime.ended is None and runtime.latched is None


def test_crashes_further_apart_than_the_window_do_not_spend_the_budget() -> None:
    log: Log = []
    h = toy_tree(toy("a:1", log), log=log)
    runtime = stepped(h)
    for n in range(12):
        runtime.post("a:1", say("raise"), "edge:test")
        runtime.run_until((n + 1) * 13_000_000_000)
    assert runtime.cells["a:1"].is_up and runtime.cells["a:1"].incarnation == 13


def test_policy_latches_at_the_first_crash_and_ends_the_process_with_the_budget() -> None:
    log: Log = []
    h = toy_tree(toy("a:1", log, policy=Policy(latch_on_crash=True, end_on_spent_budget=True)), log=log)
    runtime = stepped(h)
    reasons: list[str] = []
    runtime.on_latch = reasons.append
    runtime.post("a:1", say("raise first"), "edge:test")
    runtime.run_until(1)
    assert (runtime.latched, runtime.ended) == ("a:1 crashed: ValueError: first", None)
    for _ in range(5):
        runtime.post("a:1", say("raise more"), "edge:test")
    runtime.run_until(SECOND - 1)
    assert ended(runtime) is None  # others record their last words first
    runtime.run_until(2 * SECOND)
    assert runtime.ended == "a:1 crashed 6 times in 60 s"
    assert reasons == ["a:1 crashed: ValueError: first"]


def test_actor_that_cannot_be_made_is_a_crash_of_it_and_not_of_the_supervisor() -> None:
    log: Log = []
    tries: list[int] = []

    def make(name: str) -> Toy:
        tries.append(1)
        if len(tries) < 3:
            raise RuntimeError("not yet")
        return Toy(name, log)

    h = toy_tree(spec("a:1", make), log=log)
    runtime = stepped(h)
    assert runtime.cells["a:1"].is_up and runtime.cells["a:1"].crashes == 2
    assert runtime.cells["supervisor"].crashes == 0
    assert h.texts("a:1") == ["started:3"]


def test_crashed_supervisor_latches_comes_back_and_hears_of_everybody_who_is_down() -> None:
    log: Log = []
    h = toy_tree(toy("a:1", log), log=log)
    runtime = stepped(h)
    runtime.post("a:1", say("raise"), "edge:test")  # its ActorCrashed waits behind the poison
    runtime.post("supervisor", say("poison"), "edge:test")
    runtime.run_until(1)
    assert runtime.latched is not None and runtime.latched.startswith("supervisor crashed")
    assert runtime.cells["supervisor"].is_up and runtime.cells["supervisor"].incarnation == 2
    runtime.post("a:1", say("raise"), "edge:test")
    runtime.run_until(2)
    assert runtime.cells["a:1"].is_up


def test_actor_whose_crash_report_itself_was_lost_is_started_again_by_the_next_supervisor() -> None:
    log: Log = []
    failures = [lifecycle.ActorCrashed]

    class Forgetful(SupervisorActor):
        def decide(self, turn: Turn[SupervisorState], message: Message) -> None:
            if failures and isinstance(message, failures[0]):
                failures.pop()
                raise RuntimeError("forgot")
            super().decide(turn, message)

    h = toy_tree(toy("a:1", log), log=log, supervisor=lambda tree: Forgetful("supervisor", tree, RULES))
    runtime = stepped(h)
    runtime.post("a:1", say("raise"), "edge:test")
    runtime.run_until(1)
    assert runtime.cells["supervisor"].incarnation == 2
    assert runtime.cells["a:1"].is_up and runtime.cells["a:1"].incarnation == 2


def test_supervisor_that_keeps_crashing_ends_the_process() -> None:
    log: Log = []
    h = toy_tree(log=log)
    runtime = stepped(h)
    for _ in range(4):
        runtime.post("supervisor", say("poison"), "edge:test")
    runtime.run_until(1)
    assert runtime.ended is not None and runtime.ended.startswith("the supervisor crashed 4 times")


def test_alarm_that_crashes_its_reader_begets_no_alarm() -> None:
    log: Log = []
    h = toy_tree(toy("notifier", log), toy("web", log), log=log, subscribers={operator.Alarm: ("notifier", "web")})
    runtime = stepped(h)
    runtime.post("web", alarm("raise"), "edge:test")
    runtime.run_until(1)
    assert h.texts("notifier") == ["started:1"] and h.texts("web") == ["started:1", "raise", "started:2"]
    assert runtime.dead_letters == 1  # on record, and with the supervisor
    assert runtime.cells["web"].is_up


def test_anything_else_that_crashes_the_reader_of_alarms_is_an_alarm() -> None:
    log: Log = []
    h = toy_tree(toy("notifier", log), log=log)
    runtime = stepped(h)
    runtime.post("notifier", say("raise"), "edge:test")
    runtime.run_until(1)
    assert "notifier crashed: ValueError: told to" in h.texts("notifier")
    assert runtime.cells["notifier"].is_up and runtime.cells["notifier"].crashes == 1


def test_a_process_in_which_something_lives_on_demand_pauses_who_spent_its_budget_and_goes_on() -> None:
    log: Log = []
    policy = Policy(end_on_spent_budget=True)
    templates = (Template("position:paper:", lambda n: Toy(n, log), policy=policy),)
    h = toy_tree(toy("a:1", log, policy=policy), log=log, templates=templates)
    runtime = stepped(h)
    runtime.post("position:paper:7", say("hello"), "edge:test")
    for _ in range(6):
        runtime.post("a:1", say("raise"), "edge:test")
    runtime.run_until(SECOND)
    assert (ended(runtime), runtime.latched, is_up(runtime)) == (None, None, False)
    assert "a:1 crashed 6 times in 60 s" in halts(h)
    runtime.run_until(2 * SECOND)
    assert is_up(runtime) and runtime.cells["a:1"].incarnation == 7
    for _ in range(6):
        runtime.post("a:1", say("raise"), "edge:test")
    runtime.run_until(5 * SECOND)
    assert not is_up(runtime)  # the second pause is longer
    runtime.run_until(6 * SECOND + 1)
    assert is_up(runtime) and ended(runtime) is None
    runtime.post("position:paper:7", say("retire"), "edge:test")
    for _ in range(6):
        runtime.post("a:1", say("raise"), "edge:test")
    runtime.run_until(9 * SECOND)
    assert ended(runtime) == "a:1 crashed 6 times in 60 s"


def test_who_need_not_end_the_process_comes_back_after_a_pause() -> None:
    log: Log = []
    runtime = stepped(toy_tree(toy("a:1", log), log=log))
    for _ in range(6):
        runtime.post("a:1", say("raise"), "edge:test")
    runtime.run_until(2 * SECOND - 1)
    assert not is_up(runtime)
    runtime.run_until(2 * SECOND)
    assert is_up(runtime) and ended(runtime) is None


def test_a_supervisor_that_comes_back_still_knows_who_lives_on_demand() -> None:
    log: Log = []
    policy = Policy(end_on_spent_budget=True)
    templates = (Template("position:paper:", lambda n: Toy(n, log)),)
    runtime = stepped(toy_tree(toy("a:1", log, policy=policy), log=log, templates=templates))
    runtime.post("position:paper:7", say("hello"), "edge:test")
    runtime.run_until(1)
    runtime.post("supervisor", say("poison"), "edge:test")
    runtime.run_until(2)
    for _ in range(6):
        runtime.post("a:1", say("raise"), "edge:test")
    runtime.run_until(2 * SECOND)
    assert runtime.ended is None


def test_a_supervisor_that_cannot_be_made_ends_the_process() -> None:
    def never(_: Tree) -> SupervisorActor:
        raise RuntimeError("no memory")

    runtime = stepped(toy_tree(log=[], supervisor=never))
    assert runtime.ended == runtime.latched == "the supervisor cannot be made: RuntimeError: no memory"


def test_a_crash_that_latches_halts_too_so_that_the_first_gate_says_so() -> None:
    log: Log = []
    h = toy_tree(toy("a:1", log, policy=Policy(latch_on_crash=True)), log=log)
    runtime = stepped(h)
    runtime.post("a:1", say("raise"), "edge:test")
    runtime.run_until(1)
    assert halts(h) == ["a:1 crashed"]


def test_a_vital_message_to_an_address_of_nobody_halts_and_another_only_stands_on_record() -> None:
    h = toy_tree(log=[])
    runtime = stepped(h)
    runtime.post("position:nobody:1", say("hello"), "edge:test")
    runtime.run_until(1)
    assert (runtime.dead_letters, halts(h)) == (1, [])
    runtime.post("kill:nobody", risk.RaiseKill(level=KillLevel.FLATTEN, reason="r", by="me"), "edge:test")
    runtime.run_until(2)
    assert runtime.dead_letters == 2
    (halt,) = h.heard["halt"]
    assert halt.topic == "supervisor:vital" and "nobody has this address" in halt.text


def test_state_comes_back_from_the_ledger_behind_everything_the_dead_one_told_it() -> None:
    log: Log = []
    h = toy_tree(spec("ledger", lambda n: ToyStore(n, log)), toy("a:1", log, restore_from="ledger"), log=log)
    runtime = stepped(h)
    runtime.post("a:1", say("tell ledger last words"), "edge:test")
    runtime.post("a:1", say("raise"), "edge:test")
    runtime.run_until(1)
    assert h.texts("ledger") == ["open", "started:1", "read:a:1", "last words", "read:a:1"]
    envelopes, _ = records(trace_lines(runtime))
    started = [message_of(e) for e in envelopes if e.to == "a:1" and e.inbox_n == 1]
    read = [of_class(restored.KillRestored, of_class(lifecycle.Started, m).restored) for m in started]
    assert [back.kill_epoch for back in read] == [3, 5]


def test_unanswered_question_is_put_again_and_its_late_answer_is_too_old() -> None:
    log: Log = []
    h = toy_tree(spec("ledger", lambda n: Toy(n, log)), toy("a:1", log, restore_from="ledger"), log=log)
    runtime = stepped(h)

    def is_up() -> bool:
        return runtime.cells["a:1"].is_up

    assert not is_up()
    runtime.run_until(2_000_000_000)
    assert h.texts("ledger") == ["started:1", "read:a:1", "read:a:1"]
    runtime.post("supervisor", lifecycle.StateRead(name="a:1", restored=None, read_n=1), "edge:test")
    runtime.run_until(2_000_000_001)
    assert not is_up()
    runtime.post("supervisor", lifecycle.StateRead(name="a:1", restored=None, read_n=2), "edge:test")
    runtime.run_until(2_000_000_002)
    assert is_up()
    assert any("has not said what it knows of a:1" in m.text for m in h.heard["notifier"])


def test_asking_edge_hears_that_its_command_failed() -> None:
    log: Log = []
    h = toy_tree(spec("a:1", Refuser), log=log)
    runtime = stepped(h)
    answers: list[Message] = []
    runtime.sinks["edge:cli"] = answers.append
    runtime.post(
        "a:1",
        operator.Flatten(command_id="1", reply_to="edge:cli", by="me", reason="test", expires_utc=9),
        "edge:cli",
    )
    runtime.run_until(1)
    (answer,) = answers
    failed = of_class(lifecycle.CommandFailed, answer)
    assert (failed.name, failed.error) == ("a:1", "TypeError: Flatten is unknown")


def test_port_that_raises_makes_a_dead_letter_and_leaves_the_sender_alone() -> None:
    log: Log = []
    h = toy_tree(toy("a:1", log), log=log)
    runtime = stepped(h)

    def broken(message: object) -> None:
        raise ConnectionError("no loop")

    runtime.sinks["port:x"] = broken
    runtime.post("a:1", say("tell port:x hello;tell a:1 after"), "edge:test")
    runtime.run_until(1)
    assert h.texts("a:1")[-1] == "after" and runtime.cells["a:1"].crashes == 0
    assert runtime.dead_letters == 1
    assert any("port:x cannot handle operator.Announce" in m.text for m in h.heard["notifier"])


def test_mailbox_over_its_bound_halts_trading_once_and_drops_nothing() -> None:
    log: Log = []
    h = toy_tree(toy("a:1", log), toy("b:1", log), log=log)
    runtime = stepped(h, mailbox_soft_bound=20)
    for _ in range(2):
        runtime.post("a:1", say(";".join(["tell b:1 x"] * 50)), "edge:test")
        runtime.run_until(1)
    assert h.texts("b:1").count("x") == 100
    assert [(m.topic, m.text) for m in h.heard["halt"]] == [
        ("runtime", "b:1 has more than 20 messages waiting")
    ] * 2  # it drained between
    assert len([m for m in h.heard["notifier"] if m.key == "mailbox:b:1"]) == 2


def test_address_of_a_template_is_made_when_its_first_mail_comes() -> None:
    log: Log = []
    h = toy_tree(log=log, templates=(Template("position:paper:", lambda n: Toy(n, log)),))
    runtime = stepped(h)
    for n in range(3):
        runtime.post("position:paper:7", say(f"m{n}"), "edge:test")
    runtime.run_until(1)
    assert h.texts("position:paper:7") == ["started:1", "m0", "m1", "m2"]


def test_retired_actor_is_gone_until_new_mail_needs_it_and_its_incarnations_count_on() -> None:
    log: Log = []
    h = toy_tree(log=log, templates=(Template("position:paper:", lambda n: Toy(n, log)),))
    runtime = stepped(h)
    runtime.post("position:paper:7", say("retire"), "edge:test")
    runtime.run_until(1)
    assert "position:paper:7" not in runtime.cells
    runtime.post("position:paper:7", say("retire"), "edge:test")
    runtime.post("position:paper:7", say("again"), "edge:test")
    runtime.run_until(2)
    assert h.texts("position:paper:7") == ["started:1", "retire", "started:2", "retire", "started:3", "again"]
    envelopes, _ = records(trace_lines(runtime))
    ids = [e.message_id for e in envelopes if e.to == "position:paper:7"]
    assert len(ids) == len(set(ids))


def test_mail_of_a_sender_who_looked_before_the_retirement_and_put_after_it_wakes_the_actor() -> None:
    log: Log = []
    h = toy_tree(log=log, templates=(Template("position:paper:", lambda n: Toy(n, log)),))
    runtime = stepped(h)
    runtime.post("position:paper:7", say("one"), "edge:test")
    runtime.run_until(1)
    looked = runtime.cells
    runtime.post("position:paper:7", say("retire"), "edge:test")
    runtime.run_until(2)
    runtime.cells = looked
    runtime.post("position:paper:7", say("two"), "edge:test")
    runtime.run_until(3)
    assert h.texts("position:paper:7")[-2:] == ["started:2", "two"]


def test_roster_starts_the_actors_that_its_ledger_names() -> None:
    log: Log = []

    class Knowing(ToyStore):
        def handle(self, turn: Turn[None], message: Message) -> None:
            if isinstance(message, lifecycle.RequestState) and message.name == "positions:paper":
                live = restored.ActorsRestored(names=("position:paper:3", "position:paper:7"))
                turn.report(
                    message.reply_to, lifecycle.StateRead(name=message.name, restored=live, read_n=message.read_n)
                )
                return
            super().handle(turn, message)

    h = toy_tree(
        spec("ledger:paper", lambda n: Knowing(n, log)), log=log, rosters=(("ledger:paper", "positions:paper"),),
        templates=(Template("position:paper:", lambda n: Toy(n, log), "ledger:paper"),),
    )  # fmt: skip
    stepped(h)
    assert h.texts("position:paper:3") == h.texts("position:paper:7") == ["started:1"]
