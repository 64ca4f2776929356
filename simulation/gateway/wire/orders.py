"""What the gateway sends about orders: openOrder, orderStatus, execDetails, commissionReport, completedOrder.

Field orders hold for server versions 157 to 178; four independent client libraries decode them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from simulation.broker.events import Commission, Execution
from simulation.broker.orders import IBStatus, Order, OrderState, WhatIf
from simulation.gateway.wire.frames import UNSET_DOUBLE, UNSET_INT, encode, usd, wire_time
from simulation.gateway.wire.requests import STOP_LIMIT

LIVE = -1  # the request id of an execution that answers no request


def order_status(state: OrderState) -> bytes:
    """Write orderStatus (3)."""
    order = state.order
    return encode(
        3, order.order_id, state.status, state.filled_qty, state.remaining_qty,
        state.average_ticks / 100, order.perm_id, order.parent_id, state.last_fill_ticks / 100,
        order.client_id, "", 0,
    )  # fmt: skip


def error(request_id: int, code: int, text: str, version: int) -> bytes:
    """Write error (4); request id -1 means that it concerns the whole connection."""
    tail = ("",) if version >= 166 else ()
    return encode(4, 2, request_id, code, text, *tail)


def exec_details(request_id: int, execution: Execution, contract: tuple[str, ...], version: int) -> bytes:
    """Write execDetails (11)."""
    order = execution.order
    return encode(
        11, request_id, order.order_id, *contract, execution.exec_id, wire_time(execution.at_utc),
        order.account, "CBOE", "BOT" if order.side == "BUY" else "SLD",
        execution.qty, usd(execution.price_ticks), order.perm_id, order.client_id, 0,
        execution.cum_qty, execution.cum_cost_ticks / execution.cum_qty / 100,
        order.order_ref, "", "", "", 1, *((0,) if version >= 178 else ()),
    )  # fmt: skip


def commission_report(commission: Commission) -> bytes:
    """Write commissionReport (59)."""
    return encode(
        59, 1, commission.exec_id, usd(commission.fee_cents), "USD",
        usd(commission.realised_cents), UNSET_DOUBLE, "",
    )  # fmt: skip


def open_order(state: OrderState, contract: tuple[str, ...], version: int, what_if: WhatIf | None = None) -> bytes:
    """Write openOrder (5); with `what_if` it is the answer to a whatIf order, margins in it."""
    order = state.order
    values: dict[str, object] = {
        "goodTillDate": _good_till(order), "status": state.status, "parentId": order.parent_id,
        "ocaType": order.oca_type, "comboLegs": _legs(order),
    }  # fmt: skip
    if what_if is not None:
        values |= _margins(what_if)
    head = (5, order.order_id, *contract, *_what_and_how(order), order.client_id, order.perm_id)
    return encode(*head, *_tail("open", version, values))


def completed_order(state: OrderState, contract: tuple[str, ...], version: int) -> bytes:
    """Write completedOrder (101); it carries neither order id nor client id."""
    order = state.order
    is_filled = state.status is IBStatus.FILLED
    values = {
        "goodTillDate": _good_till(order),
        "status": state.status,
        "ocaType": order.oca_type,
        "comboLegs": _legs(order),
        "filledQuantity": state.filled_qty,
        "completedTime": wire_time(state.at_utc),
        "completedStatus": f"Filled Size: {state.filled_qty}" if is_filled else "Cancelled",
    }
    head = (101, *contract, *_what_and_how(order), order.perm_id)
    return encode(*head, *_tail("completed", version, values))


def _what_and_how(order: Order) -> tuple[object, ...]:
    """Return action .. orderRef."""
    return (
        order.side, order.qty, STOP_LIMIT if order.is_stop_limit else order.type, usd(order.limit or 0),
        usd(order.stop_ticks or 0), order.tif, order.oca_group, order.account, "", 0, order.order_ref,
    )  # fmt: skip


def _legs(order: Order) -> tuple[object, ...]:
    """Return the number of legs and eight fields for each."""
    rows = ((leg.con_id, leg.ratio, leg.side, "SMART", 0, 0, "", -1) for leg in order.legs)
    return (len(order.legs), *(field for row in rows for field in row))


def _good_till(order: Order) -> str:
    return wire_time(order.good_till_utc) if order.good_till_utc is not None else ""


def _margins(what_if: WhatIf) -> dict[str, object]:
    before, change = what_if.margin_before_cents, what_if.margin_change_cents
    equity, fee = what_if.equity_cents, what_if.fee_cents
    return {
        "whatIf": 1,
        "initBefore": usd(before), "maintBefore": usd(before), "equityBefore": usd(equity),
        "initChange": usd(change), "maintChange": usd(change), "equityChange": usd(-fee),
        "initAfter": usd(before + change), "maintAfter": usd(before + change),
        "equityAfter": usd(equity - fee), "commission": usd(fee), "commissionCurrency": "USD",
    }  # fmt: skip


# The fields from outsideRth to the end, in wire order, each with what this gateway sends for an order
# that sets none of it. `U` is the unset double, `N` the unset integer; `@<177` or `@>=159` limits a
# field to server versions. The delta-neutral type is "None" as a real gateway sends it, so its
# dependent fields follow.
LAYOUTS = {
    "open": """
        outsideRth=0 hidden=0 discretionaryAmt=0 goodAfterTime= sharesAllocation= faGroup= faMethod=
        faPercentage= faProfile=@<177 modelCode= goodTillDate= rule80A= percentOffset= settlingFirm=
        shortSaleSlot=0 designatedLocation= exemptCode=-1 auctionStrategy=0 startingPrice= stockRefPrice=
        delta= stockRangeLower= stockRangeUpper= displaySize=0 blockOrder=0 sweepToFill=0 allOrNone=0
        minQty= ocaType=3 eTradeOnly=0 firmQuoteOnly=0 nbboPriceCap= parentId=0 triggerMethod=0
        volatility= volatilityType= dnOrderType=None dnAuxPrice= dnConId=0 dnSettlingFirm=
        dnClearingAccount= dnClearingIntent= dnOpenClose= dnShortSale=0 dnShortSaleSlot=0
        dnDesignatedLocation= continuousUpdate=0 referencePriceType= trailStopPrice= trailingPercent=
        basisPoints= basisPointsType= comboLegsDescrip= comboLegs=0 orderComboLegs=0 smartParams=0
        scaleInit= scaleSubs= scaleIncrement= hedgeType= optOutSmart=0 clearingAccount=
        clearingIntent=IB notHeld=0 deltaNeutral=0 algoStrategy= solicited=0 whatIf=0 status=
        initBefore=U maintBefore=U equityBefore=U initChange=U maintChange=U equityChange=U
        initAfter=U maintAfter=U equityAfter=U commission=U commissionMin=U commissionMax=U
        commissionCurrency= warningText= randomizeSize=0 randomizePrice=0 conditions=0
        adjustedOrderType=None triggerPrice=U trailStopPrice2=U limitOffset=U adjustedStop=U
        adjustedStopLimit=U adjustedTrailing=U adjustableTrailingUnit=0 softDollarName= softDollarValue=
        softDollarDisplay= cashQty=0 dontUseAutoPriceForHedge=1 isOmsContainer=0
        discretionaryUpToLimit=0 usePriceMgmtAlgo=0 duration=N@>=159 postToAts=N@>=160
        autoCancelParent=0@>=162 minTradeQty=N@>=170 minCompeteSize=N@>=170 competeOffset=U@>=170
        midOffsetWhole=U@>=170 midOffsetHalf=U@>=170
    """,
    "completed": """
        outsideRth=0 hidden=0 discretionaryAmt=0 goodAfterTime= faGroup= faMethod= faPercentage=
        faProfile=@<177 modelCode= goodTillDate= rule80A= percentOffset= settlingFirm= shortSaleSlot=0
        designatedLocation= exemptCode=-1 startingPrice= stockRefPrice= delta= stockRangeLower=
        stockRangeUpper= displaySize=0 sweepToFill=0 allOrNone=0 minQty= ocaType=3 triggerMethod=0
        volatility= volatilityType= dnOrderType=None dnAuxPrice= dnConId=0 dnShortSale=0
        dnShortSaleSlot=0 dnDesignatedLocation= continuousUpdate=0 referencePriceType=
        trailStopPrice= trailingPercent= comboLegsDescrip= comboLegs=0 orderComboLegs=0 smartParams=0
        scaleInit= scaleSubs= scaleIncrement= hedgeType= clearingAccount= clearingIntent=IB notHeld=0
        deltaNeutral=0 algoStrategy= solicited=0 status= randomizeSize=0 randomizePrice=0 conditions=0
        trailStopPrice2=U limitOffset=U cashQty=0 dontUseAutoPriceForHedge=1 isOmsContainer=0
        autoCancelDate= filledQuantity=0 refFuturesConId=0 autoCancelParent=0 shareholder=
        imbalanceOnly=0 routeMarketableToBbo=0 parentPermId=0 completedTime= completedStatus=
        minTradeQty=N@>=170 minCompeteSize=N@>=170 competeOffset=U@>=170 midOffsetWhole=U@>=170
        midOffsetHalf=U@>=170
    """,
}


@cache
def _layout(name: str, version: int) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the default fields of a layout at a server version, and where each name stands."""
    defaults: list[str] = []
    places: dict[str, int] = {}
    for token in LAYOUTS[name].split():
        field, _, condition = token.partition("@")
        key, _, default = field.partition("=")
        if condition.startswith("<") and version >= int(condition[1:]):
            continue
        if condition.startswith(">=") and version < int(condition[2:]):
            continue
        places[key] = len(defaults)
        defaults.append({"U": UNSET_DOUBLE, "N": UNSET_INT}.get(default, default))
    return tuple(defaults), places


def layout_place(name: str, version: int, field: str) -> int:
    """Return where a field stands in a layout at a server version.

    Raises:
        KeyError: the layout has no such field.
    """
    return _layout(name, version)[1][field]


def _tail(name: str, version: int, values: Mapping[str, object]) -> list[object]:
    defaults, places = _layout(name, version)
    fields: list[object] = list(defaults)
    for key, value in values.items():
        fields[places[key]] = value
    # a tuple stands for a group of fields, whose number it says itself
    return [part for field in fields for part in (field if isinstance(field, tuple) else (field,))]
