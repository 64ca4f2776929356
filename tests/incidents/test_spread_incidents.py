"""Incidents of the credit spread, each named for what must hold."""

from __future__ import annotations

from domain.structure.saga import SagaState
from messages import positions
from tests.testkit.narrow import known
from tests.testkit.spread_world import COVER, COVER_ADDRESS, SHORT, SpreadTalk


def test_a_cover_goes_when_the_broker_holds_no_short_though_somebody_else_bought_one_more() -> None:
    talk = SpreadTalk()
    talk.hold()
    talk.leg(SHORT, 6)  # four of ten were bought by hand
    talk.leg(SHORT, 6, is_leaving=True)
    bought = talk.leg(SHORT, 0, is_leaving=True)  # the rest by us
    assert not bought.told(positions.FlattenPosition, COVER_ADDRESS), "the broker has not said so yet"
    clear = talk.leg(SHORT, 0, is_leaving=True, is_clear=True)  # it holds one more, which is somebody else's
    assert [told.is_free for told in clear.told(positions.SetCover, COVER_ADDRESS)] == [True]
    assert clear.told(positions.FlattenPosition, COVER_ADDRESS)
    talk.leg(COVER, 0, is_flat=True)
    assert known(talk.state.saga).state is SagaState.RELEASING, "the leg is not flat: a person is asked for"
    talk.leg(SHORT, 0, is_flat=True)
    assert known(talk.state.saga).state is SagaState.CLOSED
