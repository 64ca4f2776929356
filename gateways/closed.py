"""What an order port answers to a command that comes while it closes, or after: nothing of it is carried out."""

from __future__ import annotations

from typing import Final, assert_never

from domain.orders.table import CodeMeaning
from domain.risk.reject import RejectCode
from messages import broker
from messages.base import Message

WHY: Final = "the port is closed"


def answer_of_closed(command: broker.BrokerCommand) -> Message | None:
    """Return the refusal of a command; `None` of what asks for nothing that could be missed."""
    match command:
        case broker.PlaceOrder():
            return broker.OrderDenied(order_ref=command.order.order_ref, code=RejectCode.NOT_CONNECTED, why=WHY)
        case broker.AmendOrder():
            return broker.OrderDenied(order_ref=command.change.order_ref, code=RejectCode.NOT_CONNECTED, why=WHY)
        case broker.WithdrawOrder():
            return _not_cancelled(command.session_epoch, command.order_ref, CodeMeaning.ORDER_UNKNOWN)
        case broker.CancelEverything():
            return _not_cancelled(command.session_epoch, None, CodeMeaning.LINK)
        case broker.AskMargin():
            return broker.MarginTold(
                session_epoch=command.session_epoch, request_id=command.request_id, reply_to=command.reply_to,
                init_margin_change_cents=None, why=WHY,
            )  # fmt: skip
        case broker.ReadBack():
            return broker.BrokerReadFailed(session_epoch=command.session_epoch, read_n=command.read_n, why=WHY)
        case broker.Dial():
            return broker.LinkFailed(session_epoch=command.session_epoch, why=WHY)
        case broker.CloseLink() | broker.LatchKill():
            return None
        case _:
            assert_never(command)


def _not_cancelled(epoch: int, order_ref: str | None, meaning: CodeMeaning) -> broker.ErrorReported:
    what = "everything" if order_ref is None else "the order"
    return broker.ErrorReported(
        session_epoch=epoch, order_ref=order_ref, vendor_code=0, text=f"cannot cancel {what}: {WHY}", meaning=meaning
    )
