"""Timers on virtual time: order, cancelling, moving, and what an older incarnation armed."""

from __future__ import annotations

from supervision.stepped import SteppedRuntime
from tests.testkit.toys import Log, Toy, ToyTree, records, say, spec, stepped, toy_tree, trace_lines


def world(on_start: str = "") -> tuple[ToyTree, SteppedRuntime]:
    log: Log = []
    h = toy_tree(spec("a:1", lambda n: Toy(n, log, on_start=on_start)), log=log)
    return h, stepped(h)


def test_timers_fire_at_their_instants_in_order_and_not_before() -> None:
    h, runtime = world()
    runtime.post("a:1", say("timer late 30;timer early 10;timer second 10"), "edge:test")
    runtime.run_until(9)
    assert "fired:early" not in h.texts("a:1")
    runtime.run_until(40)
    assert h.texts("a:1")[2:] == ["fired:early", "fired:second", "fired:late"]
    envelopes, _ = records(trace_lines(runtime))
    assert [e.at_utc for e in envelopes if e.sender == "timer:a:1"] == [10, 10, 30]


def test_timer_names_the_message_that_armed_it_as_its_cause() -> None:
    _, runtime = world()
    runtime.post("a:1", say("timer k 10"), "edge:test")
    runtime.run_until(10)
    envelopes, _ = records(trace_lines(runtime))
    (armed,) = [e for e in envelopes if e.sender == "edge:test"]
    (fired,) = [e for e in envelopes if e.sender == "timer:a:1"]
    assert fired.cause_seq == armed.seq


def test_cancelled_timer_does_not_fire_and_cancelling_nothing_is_nothing() -> None:
    h, runtime = world()
    runtime.post("a:1", say("timer k 10;cancel k;cancel other"), "edge:test")
    runtime.run_until(20)
    assert "fired:k" not in h.texts("a:1")


def test_timer_armed_again_moves() -> None:
    h, runtime = world()
    runtime.post("a:1", say("timer k 10"), "edge:test")
    runtime.run_until(5)
    runtime.post("a:1", say("timer k 10"), "edge:test")
    runtime.run_until(14)
    assert "fired:k" not in h.texts("a:1")
    runtime.run_until(15)
    assert h.texts("a:1").count("fired:k") == 1


def test_timer_cancelled_while_its_message_waits_is_not_delivered() -> None:
    h, runtime = world()
    runtime.post("a:1", say("timer k 10"), "edge:test")
    runtime.run_until(5)
    runtime.post("a:1", say("cancel k"), "edge:test")
    cell = runtime.cells["a:1"]
    runtime._timer_due(cell, cell.timers["k", ""])  # it waits behind the cancellation
    assert cell.mailbox.depth() == 2
    runtime.run_until(20)
    assert "fired:k" not in h.texts("a:1")


def test_timer_of_an_older_incarnation_never_reaches_the_next_one() -> None:
    h, runtime = world()
    runtime.post("a:1", say("timer k 10"), "edge:test")
    runtime.run_until(5)
    runtime.post("a:1", say("raise"), "edge:test")
    runtime.run_until(20)
    assert h.texts("a:1") == ["started:1", "timer k 10", "raise", "started:2"]


def test_fired_timer_that_waits_behind_a_crash_is_dropped_and_the_one_armed_afresh_counts() -> None:
    h, runtime = world(on_start="timer k 100")
    runtime.run_until(50)
    runtime.post("a:1", say("raise"), "edge:test")
    cell = runtime.cells["a:1"]
    runtime._timer_due(cell, cell.timers["k", ""])  # due behind the poison: it waits in the mailbox through the crash
    assert cell.mailbox.depth() == 2
    runtime.run_until(149)
    assert h.texts("a:1") == ["started:1", "raise", "started:2"]
    runtime.run_until(150)
    assert h.texts("a:1") == ["started:1", "raise", "started:2", "fired:k"]


def test_timer_in_the_past_fires_now() -> None:
    h, runtime = world()
    runtime.run_until(100)
    runtime.post("a:1", say("timer k -50"), "edge:test")
    runtime.run_until(100)
    assert h.texts("a:1")[-1] == "fired:k"
    assert runtime.clock.now_utc() == 100


def test_timers_of_one_kind_and_several_subjects_run_side_by_side() -> None:
    h, runtime = world()
    runtime.post("a:1", say("timer k/x 10;timer k/y 20;timer k 30;cancel k/y"), "edge:test")
    runtime.run_until(40)
    assert h.texts("a:1")[2:] == ["fired:k/x", "fired:k"]
