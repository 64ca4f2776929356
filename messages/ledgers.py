"""What the two kinds of ledger take and answer, as closed unions; their messages live in their own conversations."""

from __future__ import annotations

from messages import desks, entries, lifecycle, operator, orders, positions, risk, session, signals, structures

SharedInput = (
    signals.RecordAlert
    | signals.RecordPromotion
    | signals.RecordOutcome
    | risk.RecordKill
    | risk.RecordSpread
    | operator.RecordCommand
    | desks.RecordRoute
    | lifecycle.RequestState
)
SharedFact = (
    signals.AlertRecorded | signals.PromotionRecorded | risk.KillRecorded | desks.RouteRecorded | lifecycle.StateRead
)  # fmt: skip

DeskInput = (
    entries.ReserveEntry | entries.ReleaseReservation | entries.RecordDenial | entries.EntryAmended
    | orders.RecordOrderIds | orders.RecordExecution | orders.RecordCommission | orders.RecordExitIntent
    | orders.BrokerRefused | orders.RecordSlice | orders.SliceNoted
    | positions.RecordPosition | positions.PositionClosed | positions.EntryAbandoned
    | positions.ExitsTightened | positions.ShadowClosed
    | structures.StructureChanged | structures.StructureClosed
    | risk.LockDay | risk.RecordStartNav | risk.RecordDay | risk.RecordDayStops
    | session.Reconcile | lifecycle.RequestState
)  # fmt: skip
# A ledger that meets what is not ours raises the kill level by itself.
DeskFact = (
    entries.EntryReserved | entries.EntryRefused
    | orders.FillRecorded | orders.CommissionRecorded | orders.ExitIntentRecorded | orders.ExecutionRecorded
    | orders.SliceRecorded
    | risk.DayLocked | risk.StartNavRecorded | risk.RaiseKill
    | session.Reconciled | lifecycle.StateRead
)  # fmt: skip
