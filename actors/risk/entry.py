"""The entry pipeline of `risk`: decide, ask, decide; one attempt at a time. Used by `actors/risk/actor.py` alone."""

from __future__ import annotations

from typing import NoReturn

from msgspec.structs import replace

from actors.risk import reports as words
from actors.risk.state import Attempt, Queued, Risk
from config.settings import Settings
from domain.identifiers import parse_alert_id
from domain.instants import MS, session_of
from domain.instruments import Quote, Side, Spot
from domain.options.fees import round_trip_cents
from domain.options.tick_rules import passive, round_down, rule_of
from domain.risk.desk_view import Decision, spot_of, with_decision, with_holding
from domain.risk.entry_stages import SILENCE, Stage
from domain.risk.gates import sequence as gates
from domain.risk.gates.types import DeskRules, Finding, Intent, Snapshot, refused
from domain.risk.reject import RejectCode
from messages import market, orders, signals
from supervision.effects import CancelTimer, Effect, SetTimer, Tell

Step = tuple[Risk, list[Effect]]
STAGE_TIMER = "stage:"


def bug(what: str) -> NoReturn:
    """Say that a state that the table excludes was reached."""
    raise RuntimeError(what)


class EntryDesk:
    """The pipeline with what stays the same while the desk runs."""

    def __init__(self, name: str, settings: Settings, is_live_armed: bool) -> None:
        self.name = name
        self.desk = settings.desk
        self.settings = settings
        self.limits = settings.entry
        self.rules = DeskRules(
            profile=settings.profile,
            trading_mode=settings.trading_mode,
            is_live_armed=is_live_armed,
            paper_port=settings.broker.paper_port,
            live_port=settings.broker.live_port,
            stop_share=settings.exits.premium_stop,
            limits=settings.entry,
            day=settings.day,
        )

    # -- the queue ------------------------------------------------------------------------------

    def signal(self, state: Risk, m: signals.SignalRaised, now: int) -> Step:
        """Queue a signal, unless its alert is in hand already."""
        in_hand = {q.intent.alert_id for q in state.queue}
        if state.attempt is not None:
            in_hand.add(state.attempt.intent.alert_id)
        if m.alert_id in in_hand:
            return state, []
        queued = Queued(words.intent_of(m), now + self.limits.intent_deadline_ms * MS)
        return self._next(replace(state, queue=(*state.queue, queued)), [], now)

    def _next(self, state: Risk, effects: list[Effect], now: int) -> Step:
        while state.attempt is None and state.queue:
            head, rest = state.queue[0], state.queue[1:]
            state, more = self._begin(replace(state, queue=rest), head, now)
            effects = [*effects, *more]
        return state, effects

    def _begin(self, state: Risk, head: Queued, now: int) -> Step:
        intent = head.intent
        attempt = Attempt(intent, head.deadline_utc, Stage.AWAITS_CONTRACTS, 0, "")
        if intent.strategy not in self.settings.strategies or intent.ticker not in self.settings.ticker_rules:
            looked_at = f"no rules for strategy {intent.strategy} on {intent.ticker}"
            return self._deny(state, attempt, 7, refused(RejectCode.MISSING_INPUT, looked_at=looked_at), now)
        if now > head.deadline_utc:
            return self._deny(state, attempt, 7, self._too_late(head.deadline_utc, now), now)
        attempt = replace(attempt, verdicts=gates.run(gates.STANDING, intent, self._snapshot(state, intent, now)))
        if gates.first_reject(attempt.verdicts) is not None:
            return self._close(state, attempt, now)
        state, attempt, effects = self._stage(state, attempt, Stage.AWAITS_CONTRACTS, self.limits.quote_wait_ms, now)
        wanted = market.ContractsWanted(
            request_id=attempt.request_id,
            reply_to=self.name,
            ticker=intent.ticker,
            right=intent.right,
            expires_utc=self._wait_until(attempt, self.limits.quote_wait_ms, now),
        )
        return state, [*effects, Tell("quotes", wanted)]

    # -- replies --------------------------------------------------------------------------------

    def offered(self, state: Risk, m: market.ContractsOffered, now: int) -> Step:
        """Try the candidates in order."""
        attempt = self._awaiting(state, m.request_id, Stage.AWAITS_CONTRACTS)
        if attempt is None:
            return state, []
        if m.is_none_today:
            none = gates.no_contract(0, m.why or "", is_none_today=True)
            attempt = replace(attempt, verdicts=(*attempt.verdicts, none))
            return self._next(*self._close(state, attempt, now), now)
        attempt = replace(attempt, untried=m.quotes[: self.limits.candidates_max], spot=m.spot)
        return self._next(*self._try(state, attempt, m.why or "", now), now)

    def quote_read(self, state: Risk, m: market.QuoteRead, now: int) -> Step:
        """Take the quote that the decision or the submit waits for."""
        attempt = self._awaiting(state, m.request_id, Stage.AWAITS_QUOTE, Stage.AWAITS_FRESH_QUOTE)
        if attempt is None:
            return state, []
        attempt = replace(attempt, spot=m.spot or attempt.spot)
        if attempt.stage is Stage.AWAITS_FRESH_QUOTE:
            return self._next(*self._submit(state, attempt, m.quote, now), now)
        attempt = replace(attempt, untried=((m.contract, m.quote), *attempt.untried[1:]))
        return self._next(*self._try(state, attempt, "", now, has_asked=True), now)

    def quote_unavailable(self, state: Risk, m: market.QuoteUnavailable, now: int) -> Step:
        """Go on to the next candidate, or deny where the submit was waiting."""
        attempt = self._awaiting(state, m.request_id, Stage.AWAITS_QUOTE, Stage.AWAITS_FRESH_QUOTE)
        if attempt is None:
            return state, []
        age = None if m.last is None else (now - m.last.at_utc) / MS
        gate, limit = (
            (20, self.limits.quote_age_max_ms)
            if attempt.stage is Stage.AWAITS_QUOTE
            else (24, self.limits.fresh_quote_wait_ms)
        )
        found = refused(RejectCode.STALE_QUOTE, age, limit, "ms", m.why)
        if attempt.stage is Stage.AWAITS_FRESH_QUOTE:
            return self._next(*self._deny(state, attempt, gate, found, now), now)
        verdicts = (*attempt.verdicts, gates.verdict_of(gate, found))
        attempt = replace(attempt, verdicts=verdicts, untried=attempt.untried[1:], tried=attempt.tried + 1)
        return self._next(*self._try(state, attempt, m.why, now), now)

    def reserved(self, state: Risk, m: orders.EntryReserved, now: int) -> Step:
        """Hand the intent on, unless what stood at the last look no longer stands."""
        attempt = state.attempt
        if attempt is None or attempt.stage is not Stage.AWAITS_RESERVATION or attempt.intent.intent_id != m.intent_id:
            return state, []
        verdicts = gates.run(gates.HAND_OVER, attempt.intent, self._snapshot(state, attempt.intent, now), "hand-over")
        reject = gates.first_reject(verdicts)
        if reject is None and attempt.kill_epoch != state.view.kill_epoch:
            reject = gates.verdict_of(25, refused(RejectCode.PERMIT_KILLED, state.view.kill_epoch, attempt.kill_epoch))
        if reject is None and attempt.session_epoch != state.view.session_epoch:
            found = refused(RejectCode.PERMIT_SESSION, state.view.session_epoch, attempt.session_epoch)
            reject = gates.verdict_of(25, found)
        if reject is not None:
            attempt = replace(attempt, verdicts=(*attempt.verdicts, reject))
            state, effects = self._close(state, attempt, now, is_recorded=True)
            reason = str(reject.found.code)
            release = Tell("desk_ledger", orders.ReleaseReservation(intent_id=m.intent_id, reason=reason))
            return self._next(state, [release, *effects], now)
        return self._next(*self._hand_over(state, attempt, now), now)

    def refused(self, state: Risk, m: orders.EntryRefused, now: int) -> Step:
        """End the attempt with the ledger's word (its gate row is written there)."""
        attempt = state.attempt
        if attempt is None or attempt.stage is not Stage.AWAITS_RESERVATION or attempt.intent.intent_id != m.intent_id:
            return state, []
        verdict = gates.verdict_of(25, refused(m.code, m.measured, m.limit, "", m.looked_at))
        attempt = replace(attempt, verdicts=(*attempt.verdicts, verdict))
        return self._next(*self._close(state, attempt, now, is_recorded=True), now)

    def silence(self, state: Risk, key: str, now: int) -> Step:
        """Deny because a reply did not come; a reservation of unknown outcome is given up with a tombstone."""
        attempt = state.attempt
        if attempt is None or key != f"{STAGE_TIMER}{attempt.stage_n}":
            return state, []
        gate, code = SILENCE[attempt.stage]
        found = refused(code, looked_at=f"no reply in {attempt.stage.value}")
        if now >= attempt.deadline_utc:
            found = self._too_late(attempt.deadline_utc, now, attempt.stage)
        release: list[Effect] = []
        if attempt.stage is Stage.AWAITS_RESERVATION:
            given_up = orders.ReleaseReservation(intent_id=attempt.intent.intent_id, reason=str(found.code))
            release = [Tell("desk_ledger", given_up)]
        state, effects = self._deny(state, attempt, gate, found, now)
        return self._next(state, [*release, *effects], now)

    def interrupted(self, state: Risk, alert: str, now: int) -> Step:
        """Write the row of an alert whose attempt died with a predecessor, unless it has been decided since."""
        in_hand = [q.intent.alert_id for q in state.queue]
        if state.attempt is not None:
            in_hand.append(state.attempt.intent.alert_id)
        if alert in in_hand or any(d.alert_id == alert for d in state.view.decisions):
            return state, []
        name = parse_alert_id(alert)
        decision = Decision(
            source=name.source,
            strategy=name.source,
            ticker=name.ticker,
            kind=name.kind,
            version=name.version,
            bucket_utc=name.bucket_utc,
            alert_id=alert,
            code=RejectCode.ATTEMPT_INTERRUPTED.value,
            decided_utc=now,
        )
        row = words.denial(decision, alert, name.session, RejectCode.ATTEMPT_INTERRUPTED, ())
        return replace(state, view=with_decision(state.view, decision)), [Tell("desk_ledger", row)]

    # -- the steps ------------------------------------------------------------------------------

    def _try(self, state: Risk, attempt: Attempt, why: str, now: int, has_asked: bool = False) -> Step:
        """Run gates 19 to 22 over the candidates; a stale quote is asked for once before it counts."""
        while attempt.untried:
            contract, quote = attempt.untried[0]
            snapshot = replace(self._snapshot(state, attempt.intent, now, attempt.spot), contract=contract, quote=quote)
            verdicts = gates.run(gates.CANDIDATE, attempt.intent, snapshot)
            reject = gates.first_reject(verdicts)
            if reject is not None and reject.found.code is RejectCode.STALE_QUOTE and not has_asked:
                return self._ask_quote(state, attempt, Stage.AWAITS_QUOTE, contract.con_id, now)
            attempt = replace(attempt, verdicts=(*attempt.verdicts, *verdicts), tried=attempt.tried + 1)
            if reject is None:
                passed = replace(attempt, contract=contract, decision=quote, spot=snapshot.spot)
                return self._size(state, passed, now)
            attempt, has_asked = replace(attempt, untried=attempt.untried[1:]), False
            why = f"last: {reject.found.code}"
        attempt = replace(attempt, verdicts=(*attempt.verdicts, gates.no_contract(attempt.tried, why)))
        return self._close(state, attempt, now)

    def _size(self, state: Risk, attempt: Attempt, now: int) -> Step:
        contract, quote = attempt.contract, attempt.decision
        if contract is None or quote is None:
            bug("sized without a contract")
        ticker = self.settings.ticker_rules[attempt.intent.ticker]
        sizing = gates.size_of(self.rules, ticker, state.view, contract, quote)
        if sizing is not None:
            attempt = replace(attempt, qty=sizing.qty, sizing=sizing.reason)
        snapshot = replace(
            self._snapshot(state, attempt.intent, now, attempt.spot),
            contract=contract,
            quote=quote,
            qty=None if sizing is None else sizing.qty,
            sizing=attempt.sizing,
            fees_cents=self._fees(state, attempt, quote),
        )
        attempt = replace(attempt, verdicts=(*attempt.verdicts, *gates.run(gates.SIZE, attempt.intent, snapshot)))
        if gates.first_reject(attempt.verdicts) is not None:
            return self._close(state, attempt, now)
        attempt = replace(attempt, fresh_from_utc=now)
        return self._ask_quote(state, attempt, Stage.AWAITS_FRESH_QUOTE, contract.con_id, now)

    def _fees(self, state: Risk, attempt: Attempt, quote: Quote) -> int:
        if state.view.session is None or attempt.contract is None or not attempt.qty or quote.ask_ticks is None:
            return 0
        return round_trip_cents(state.view.session, attempt.contract.trading_class, attempt.qty, quote.ask_ticks)

    def _ask_quote(self, state: Risk, attempt: Attempt, stage: Stage, con_id: int, now: int) -> Step:
        is_fresh = stage is Stage.AWAITS_FRESH_QUOTE
        wait_ms = self.limits.fresh_quote_wait_ms if is_fresh else self.limits.quote_wait_ms
        newer_than = now if is_fresh else now - self.limits.quote_age_max_ms * MS
        state, attempt, effects = self._stage(state, attempt, stage, wait_ms, now)
        request = market.RequestQuote(
            request_id=attempt.request_id,
            reply_to=self.name,
            con_id=con_id,
            newer_than_utc=newer_than,
            expires_utc=self._wait_until(attempt, wait_ms, now),
        )
        return state, [*effects, Tell("quotes", request)]

    def _submit(self, state: Risk, attempt: Attempt, quote: Quote, now: int) -> Step:
        """Gate 24 on the fresh quote, the last look, then the reservation."""
        contract, decision, intent = attempt.contract, attempt.decision, attempt.intent
        if contract is None or decision is None or decision.ask_ticks is None:
            bug("submitted without a decision")
        snapshot = replace(
            self._snapshot(state, intent, now, attempt.spot),
            contract=contract,
            quote=quote,
            decision=decision,
            fresh_from_utc=attempt.fresh_from_utc,
            qty=attempt.qty,
        )
        attempt = replace(attempt, verdicts=(*attempt.verdicts, *gates.run(gates.SUBMIT, intent, snapshot)))
        if gates.first_reject(attempt.verdicts) is not None:
            return self._close(state, attempt, now)
        last_look = gates.run(gates.LAST_LOOK, intent, snapshot, "last look")
        attempt = replace(attempt, verdicts=(*attempt.verdicts, *last_look))
        if gates.first_reject(attempt.verdicts) is not None:
            return self._close(state, attempt, now)
        rule = rule_of(contract.trading_class)
        wait_ms = self.limits.reservation_wait_ms
        attempt = replace(
            attempt,
            # Never above the ask on which the entry was decided, wherever the market has gone since.
            limit_ticks=min(passive(rule, Side.BUY, (quote.mid_x2 or 0) / 2), round_down(rule, decision.ask_ticks)),
            kill_epoch=state.view.kill_epoch,
            session_epoch=state.view.session_epoch,
            order_deadline_utc=now + (wait_ms + self.settings.exits.entry_total_ms) * MS,
        )
        state, attempt, effects = self._stage(state, attempt, Stage.AWAITS_RESERVATION, wait_ms, now)
        request = words.reserve(
            attempt,
            contract,
            self.desk,
            state.view.session or session_of(now),
            self.limits,
            self.settings.strategies[intent.strategy],
            now,
            self._wait_until(attempt, wait_ms, now),
        )
        return state, [*effects, Tell("desk_ledger", request)]

    def _hand_over(self, state: Risk, attempt: Attempt, now: int) -> Step:
        intent, contract, decision = attempt.intent, attempt.contract, attempt.decision
        if contract is None or decision is None or decision.ask_ticks is None or attempt.spot is None:
            bug("handed over without a decision")
        permit = orders.Permit(
            kill_epoch=attempt.kill_epoch,
            session_epoch=attempt.session_epoch,
            expires_utc=now + self.limits.permit_ms * MS,
        )
        opening = words.opening(attempt, contract, decision, attempt.spot, self.desk, permit)
        handed = orders.EntryHandedOver(
            signal_id=intent.signal_id,
            alert_id=intent.alert_id,
            intent_id=intent.intent_id,
            order_ref=opening.order_ref,
            con_id=contract.con_id,
        )
        view = with_decision(state.view, words.decision_of(intent, None, now))
        view = with_holding(view, words.pending(attempt, contract, decision.ask_ticks, now))
        effects: list[Effect] = [
            CancelTimer(f"{STAGE_TIMER}{attempt.stage_n}"),
            Tell(f"position:{self.desk}:{contract.con_id}", opening),
            *(Tell(to, handed) for to in (_lane(intent), "web", "notifier")),
        ]
        return replace(state, attempt=None, view=view), effects

    # -- ends -----------------------------------------------------------------------------------

    def _deny(self, state: Risk, attempt: Attempt, gate: int, found: Finding, now: int) -> Step:
        verdicts = (*attempt.verdicts, gates.verdict_of(gate, found))
        return self._close(state, replace(attempt, verdicts=verdicts), now)

    def _close(self, state: Risk, attempt: Attempt, now: int, is_recorded: bool = False) -> Step:
        """End an attempt with its last verdict; `is_recorded` where the ledger has written the row itself."""
        intent, reject = attempt.intent, gates.first_reject(attempt.verdicts)
        if reject is None or reject.found.code is None:
            bug("denied without a reject")
        code = reject.found.code
        effects: list[Effect] = []
        if attempt.stage_n:
            effects.append(CancelTimer(f"{STAGE_TIMER}{attempt.stage_n}"))
        decision = words.decision_of(intent, code, now)
        if not is_recorded:
            session = state.view.session or session_of(now)
            row = words.denial(decision, intent.signal_id, session, code, attempt.verdicts)
            effects.append(Tell("desk_ledger", row))
        denied = words.denied(intent, reject, code)
        effects.extend(Tell(to, denied) for to in (_lane(intent), "web", "notifier"))
        return replace(state, attempt=None, view=with_decision(state.view, decision)), effects

    # -- helpers --------------------------------------------------------------------------------

    def _stage(
        self, state: Risk, attempt: Attempt, stage: Stage, wait_ms: int, now: int
    ) -> tuple[Risk, Attempt, list[Effect]]:
        """Enter a stage: a new number, a new request id, the old timer off and a new one on."""
        n = state.stage_n + 1
        effects: list[Effect] = [CancelTimer(f"{STAGE_TIMER}{attempt.stage_n}")] if attempt.stage_n else []
        effects.append(SetTimer(f"{STAGE_TIMER}{n}", self._wait_until(attempt, wait_ms, now)))
        request_id = f"{attempt.intent.intent_id}#{state.incarnation}.{n}"
        attempt = replace(attempt, stage=stage, stage_n=n, request_id=request_id)
        return replace(state, stage_n=n, attempt=attempt), attempt, effects

    def _awaiting(self, state: Risk, request_id: str, *stages: Stage) -> Attempt | None:
        attempt = state.attempt
        if attempt is None or attempt.stage not in stages or attempt.request_id != request_id:
            return None
        return attempt

    def _wait_until(self, attempt: Attempt, wait_ms: int, now: int) -> int:
        return min(now + wait_ms * MS, attempt.deadline_utc)

    def _too_late(self, deadline_utc: int, now: int, stage: Stage | None = None) -> Finding:
        late_ms = self.limits.intent_deadline_ms + (now - deadline_utc) / MS
        looked_at = "in the queue" if stage is None else f"in {stage.value}"
        return refused(RejectCode.STALE_SIGNAL, late_ms, self.limits.intent_deadline_ms, "ms", looked_at)

    def _snapshot(self, state: Risk, intent: Intent, now: int, spot: Spot | None = None) -> Snapshot:
        return Snapshot(
            now=now,
            rules=self.rules,
            strategy=self.settings.strategies[intent.strategy],
            ticker=self.settings.ticker_rules[intent.ticker],
            view=state.view,
            spot=spot or spot_of(state.view, intent.ticker),
        )


def _lane(intent: Intent) -> str:
    return f"lane:{intent.source}:{intent.ticker}"
