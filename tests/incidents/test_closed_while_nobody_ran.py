"""A contract sold while no supervisor ran (`flatten --direct`, a person): the next run's position waited for ever.

Its own orders are of an earlier run, so that no read-back told it what the broker holds, but for the first of the link.
Where the position started after that one was read, its life never ended, and level 1 came every time it asked.
"""

from __future__ import annotations

from messages.positions import BrokerPositionRead, PositionDisputed
from tests.testkit.ibkr_history import OWNER, History


def test_a_position_of_an_earlier_run_that_disputes_is_told_what_the_broker_holds() -> None:
    h = History().live()
    asked_utc = h.now
    h.feed(PositionDisputed(position_id="ZH-paper-A", con_id=7, ledger_qty=0, broker_qty=0, why="not confirmed"))
    answers = h.read().told(BrokerPositionRead, OWNER)
    assert [(answer.con_id, answer.qty, answer.read_utc > asked_utc) for answer in answers] == [(7, 0, True)]
