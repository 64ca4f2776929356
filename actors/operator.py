"""`operator`: people's commands, once each by `command_id`, audited.

Raise and flatten go to their owner first and are recorded after; a resume is recorded first. A promotion
is durable first and in force after; one that is not recorded in time is withdrawn behind it. A withdrawal is in force
at once, and overtakes the promotions that wait for their record.

A repeated id gets the old answer, unless what it says holds no longer (a later command, or a rule that raised the
level), or waits for it. After a restart of this actor old answers are not known: a raise twice is harmless, a resume
names its level and epoch, and the ledger refuses a promotion that came before and was undone.

An id that names another command is refused. A raise (kill, flatten) never is: it goes out under an id of its own, and
once more where a resume came after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import assert_never

import msgspec
from msgspec.structs import replace

from config.settings import Settings
from config.tree import PromotionRules
from domain.alarm import Severity
from domain.instants import MS
from domain.position import profiles
from domain.risk.kill import KillLevel
from domain.signals import spread
from domain.signals.offer import SOURCE as OUTSIDE
from domain.signals.rates import PromotionRefused
from domain.starved import busy_text, excused_ms
from messages import desks, lifecycle, market, operator, risk, signals
from supervision.actor import Actor
from supervision.turn import Turn

KEPT = 200  # commands remembered; a person does not give more in a day
Kinds = frozenset[tuple[str, str, int]]  # (source, kind, version) that a lane looks for
Promotion = operator.Promote | operator.Demote
Asked = operator.Kill | operator.Resume | operator.Flatten | operator.Switch | operator.Memberships | Promotion
Answer = operator.CommandDone | operator.CommandDenied
Inbox = (
    lifecycle.Started
    | lifecycle.TimerFired
    | Asked
    | Answer
    | signals.PromotionRecorded
    | risk.KillRaised
    | risk.KillLowered
)


class Timer(StrEnum):
    """What operator waits for."""

    RECORD = "record"  # the command's id: the ledger's answer on a promotion is overdue


class CommandRefused(StrEnum):
    """Why a command never reached its owner."""

    EXPIRED = "expired"
    BAD_LEVEL = "bad_level"
    UNKNOWN_KIND = "unknown_kind"  # no lane of the settings looks for it, in this version
    LEDGER_SILENT = "ledger_silent"  # it could not be recorded in time
    ID_REUSED = "id_reused"  # its id names another command
    OVERTAKEN = "overtaken"  # a withdrawal came before the promotion was in force
    UNPROVEN = "unproven"  # its outcomes do not reach what the settings ask for
    UNKNOWN_DESK = "unknown_desk"  # no desk of the process, or none is named and there are several
    OUTDATED = "outdated"  # it was carried out once, and a later command or a rule undid it


class Known(msgspec.Struct, frozen=True):
    """One command as it came first, who waits for its answer, and the answer once there is one.

    A raise for every desk has `due_n` answers to come, of which `told` is what came.
    """

    command: Asked
    waiting: tuple[str, ...]
    answer: Answer | None = None
    due_n: int = 1
    told: tuple[str, ...] = ()

    @property
    def command_id(self) -> str:
        """The command's id."""
        return self.command.command_id


class OperatorState(msgspec.Struct):
    """The commands remembered, oldest first, and the promotions that wait for their record.

    `levels` are the kill levels in force by desk (one without a name of a process with one desk), whoever set them;
    what is not in it was not told yet.
    """

    commands: tuple[Known, ...] = ()
    promotions: tuple[signals.RecordPromotion, ...] = ()
    levels: Mapping[str, KillLevel] = {}


class OperatorActor(Actor[OperatorState, Inbox]):
    """Carries commands to their owner and answers back."""

    weighs = frozenset((Timer.RECORD,))

    def __init__(self, name: str, settings: Settings, desk_names: tuple[str, ...] = ()) -> None:
        super().__init__(name)
        self._wait_ns = settings.exits.record_wait_ms * MS
        self._proof = settings.promotion
        self._desks = desk_names
        self._own = settings.desk
        self._kinds = frozenset(
            (source, kind, rules.version)
            for source in settings.lanes
            for kind in settings.alerts[source]
            for rules in (settings.alert_rules[kind], *settings.alert_trials.get(kind, ()))
        ) | {(OUTSIDE, kind, version) for kind, version in settings.outside.kinds.items()}
        if settings.spread.is_on:
            self._kinds |= {(spread.SOURCE, spread.kind_of(settings.spread), spread.VERSION)}
        other = profiles.other_of(settings.exits)
        if other is not None:
            self._kinds |= {(profiles.SOURCE, other.kind, other.version)}

    def initial(self) -> OperatorState:
        """Return a state that remembers nothing."""
        return OperatorState()

    def decide(self, turn: Turn[OperatorState], message: Inbox) -> None:
        """Carry a command or an answer."""
        match message:
            case operator.Kill() | operator.Resume() | operator.Flatten() | operator.Switch() | operator.Memberships():
                on_command(turn, self._of_process(message), desk_names=self._desks)
            case operator.Promote() | operator.Demote():
                if on_command(turn, message, self._kinds):
                    request_promotion(turn, row_of(turn, message, self._proof), self._wait_ns)
            case signals.PromotionRecorded():
                on_promotion_recorded(turn, message)
            case operator.CommandDone() | operator.CommandDenied():
                on_answer(turn, message)
            case lifecycle.TimerFired():
                match Timer(message.kind):
                    case Timer.RECORD:
                        on_promotion_overdue(turn, message.subject, self._wait_ns, message)
                    case never:
                        assert_never(never)
            case risk.KillRaised() | risk.KillLowered():
                turn.state.levels = {**turn.state.levels, message.desk: message.level}
            case lifecycle.Started():
                turn.tell("kill", risk.RequestKillLevel(reply_to=turn.name))
            case _:
                assert_never(message)

    def _of_process(self, message: Asked) -> Asked:
        """Return a command without its desk's name where that is the process's only one."""
        is_own = not self._desks and desk_of(message) == self._own
        if is_own and isinstance(message, operator.Kill | operator.Resume | operator.Flatten):
            return replace(message, desk="")
        return message


def on_command(
    turn: Turn[OperatorState], message: Asked, kinds: Kinds = frozenset(), desk_names: tuple[str, ...] = ()
) -> bool:
    """Carry a new command to its owner; a repeated one waits for the answer of the first, or gets it.

    Returns whether the command is new and not refused; `kinds` are what may be promoted, `desk_names` the desks of a
    process with several.
    """
    if isinstance(message, operator.Kill | operator.Flatten):
        message = replace(message, command_id=own_id(turn.state, message))
    known = find(turn.state, message.command_id)
    if known is not None and not is_same(known.command, message):
        report_reused(turn, known, message)
        return False
    if known is not None and known.answer is not None:
        turn.report(message.reply_to, outdated(known) if is_outdated(turn.state, known) else known.answer)
        return False
    if known is not None:
        if message.reply_to not in known.waiting:
            keep(turn.state, replace(known, waiting=(*known.waiting, message.reply_to)))
        return False
    is_for_all = isinstance(message, operator.Kill | operator.Flatten) and not message.desk
    command = Known(message, (message.reply_to,), due_n=max(1, len(desk_names)) if is_for_all else 1)
    keep(turn.state, command)
    refusal = refusal_of(turn, message, kinds) or desk_refused(message, desk_names)
    if refusal is not None:
        on_answer(turn, refusal)
        return False
    match message:
        case operator.Kill():
            raise_kill(turn, message, message.level)
            record(turn, command, "asked")
        case operator.Flatten():
            raise_kill(turn, message, KillLevel.FLATTEN)
            record(turn, command, "asked")
        case operator.Resume():
            record(turn, command, "asked")
            lower_kill(turn, message)
        case operator.Switch():
            record(turn, command, "asked")
            switch = desks.SwitchStrategy(
                command_id=message.command_id, strategy=message.strategy, from_desk=message.from_desk,
                to_desk=message.to_desk, by=message.by, reason=message.reason,
            )  # fmt: skip
            turn.tell("router", switch)
        case operator.Memberships():
            record(turn, command, "asked")
            turn.tell("feed", market.ChangeMemberships(command_id=message.command_id, hubs=message.hubs))
        case operator.Promote() | operator.Demote():
            record(turn, command, "asked")
        case _:
            assert_never(message)
    return True


def refusal_of(turn: Turn[OperatorState], message: Asked, kinds: Kinds) -> operator.CommandDenied | None:
    """Return why a command is not carried to its owner; what makes trading safer is never too late."""
    is_loosening = isinstance(
        message, operator.Resume | operator.Promote | operator.Switch | operator.Memberships
    )  # fmt: skip
    if is_loosening and turn.now > message.expires_utc:
        detail = "The command came after its expiry; look at the status and give it again."
        return operator.CommandDenied(command_id=message.command_id, code=CommandRefused.EXPIRED, detail=detail)
    if isinstance(message, operator.Kill) and message.level not in (KillLevel.NO_ENTRIES, KillLevel.FLATTEN):
        levels = f"{KillLevel.NO_ENTRIES} or {KillLevel.FLATTEN}"
        detail = f"A kill raises the level to {levels}, not to {message.level}; use resume to lower it."
        return operator.CommandDenied(command_id=message.command_id, code=CommandRefused.BAD_LEVEL, detail=detail)
    if isinstance(message, operator.Promote) and (message.source, message.kind, message.version) not in kinds:
        there_are = ", ".join(f"{source} {kind}-{version}" for source, kind, version in sorted(kinds))
        detail = f"No lane looks for {message.source} {message.kind}-{message.version}; there are: {there_are}."
        return operator.CommandDenied(command_id=message.command_id, code=CommandRefused.UNKNOWN_KIND, detail=detail)
    return None


def desk_refused(message: Asked, desk_names: tuple[str, ...]) -> operator.CommandDenied | None:
    """Return why a command cannot be for the desk that it names, or for none; a raise without a name is for all."""
    detail = ""
    there_are = f"there are: {', '.join(desk_names)}"
    match message:
        case operator.Kill() | operator.Resume() | operator.Flatten():
            if message.desk and message.desk not in desk_names:
                detail = f"There is no desk {message.desk} beside others here{f'; {there_are}' if desk_names else ''}."
            elif isinstance(message, operator.Resume) and not message.desk and desk_names:
                detail = f"Each desk has a kill level of its own: name one (--desk); {there_are}."
        case operator.Switch():
            unknown = [desk for desk in (message.from_desk, message.to_desk) if desk and desk not in desk_names]
            if not desk_names:
                detail = "This process has one desk; name others in the settings (desks) to switch between them."
            elif unknown:
                detail = f"There is no desk {unknown[0]}; {there_are}."
        case operator.Promote() | operator.Demote() | operator.Memberships():
            pass
        case never:
            assert_never(never)
    if not detail:
        return None
    code = CommandRefused.UNKNOWN_DESK
    return operator.CommandDenied(command_id=message.command_id, code=code, detail=detail)


def desk_of(command: Asked) -> str:
    """Return the one desk whose kill level a command is about; empty: every desk's, or none's."""
    return command.desk if isinstance(command, operator.Kill | operator.Resume | operator.Flatten) else ""


def kill_of(desk: str) -> str:
    """Return the role that keeps a desk's kill level; of every desk, where none is named."""
    return f"kill:{desk}" if desk else "kill"


def row_of(turn: Turn[OperatorState], message: Promotion, proof: PromotionRules) -> signals.RecordPromotion:
    """Return what is recorded of a promotion, or of its withdrawal; only a promotion has something to prove."""
    is_unproven = isinstance(message, operator.Promote) and message.is_unproven
    is_proof_wanted = isinstance(message, operator.Promote) and not message.is_unproven
    return signals.RecordPromotion(
        command_id=message.command_id,
        source=message.source,
        kind=message.kind,
        version=message.version,
        is_promoted=isinstance(message, operator.Promote),
        by=message.by,
        reason=message.reason + (" (without the outcomes that are asked for)" if is_unproven else ""),
        at_utc=turn.now,
        outcomes_min=proof.outcomes_min if is_proof_wanted else 0,
        rate_floor=proof.rate_floor,
    )


def request_promotion(turn: Turn[OperatorState], row: signals.RecordPromotion, wait_ns: int) -> None:
    """Have a promotion, or its withdrawal, recorded; a withdrawal is in force before, and overtakes what waits."""
    if not row.is_promoted:
        turn.publish(promotion_changed(row))
        overtake_promotions(turn, kind_of(row))
    turn.state.promotions = (*turn.state.promotions, row)
    turn.tell("ledger", row)
    turn.arm(Timer.RECORD, turn.now + wait_ns, row.command_id)


def overtake_promotions(turn: Turn[OperatorState], kind: tuple[str, str, int]) -> None:
    """Refuse the promotions of a kind that wait for their record: it is written before that of the withdrawal."""
    for row in turn.state.promotions:
        if row.is_promoted and kind_of(row) == kind:
            take_promotion(turn, row.command_id)
            detail = "A withdrawal came after it, and these alerts are shadows; promote them again if that is meant."
            code = CommandRefused.OVERTAKEN
            on_answer(turn, operator.CommandDenied(command_id=row.command_id, code=code, detail=detail))


def on_promotion_recorded(turn: Turn[OperatorState], recorded: signals.PromotionRecorded) -> None:
    """Put a recorded promotion, or once more its withdrawal, in force and answer; say why one was refused."""
    command_id = recorded.command_id
    found = take_promotion(turn, command_id)
    if found is None:
        return
    if recorded.refused is not None:
        code = CommandRefused(recorded.refused.value)
        on_answer(turn, operator.CommandDenied(command_id=command_id, code=code, detail=why_refused(recorded)))
        return
    turn.publish(promotion_changed(found))
    on_answer(turn, operator.CommandDone(command_id=command_id, detail=in_force_text(found)))


def in_force_text(row: signals.RecordPromotion) -> str:
    """Return in a sentence what a promotion or its withdrawal changes."""
    if row.source == profiles.SOURCE:
        verb = "closes the positions" if row.is_promoted else "is a shadow beside those"
        return f"Exit profile {row.kind}-{row.version} {verb} that are opened from now on; what is held stays as it is."
    verb = "trade from now on" if row.is_promoted else "are shadows from now on"
    return f"Alerts {row.source} {row.kind}-{row.version} {verb}."


def why_refused(recorded: signals.PromotionRecorded) -> str:
    """Return in a sentence why the ledger refused a promotion."""
    match recorded.refused:
        case PromotionRefused.OUTDATED:
            return outdated_text("promote")
        case PromotionRefused.ID_REUSED:
            return f"The id {recorded.command_id!r} names another promotion already; give this one an id of its own."
        case _:
            return f"{recorded.why} (A person who wants it all the same says --unproven.)"


def on_promotion_overdue(turn: Turn[OperatorState], command_id: str, wait_ns: int, fired: lifecycle.TimerFired) -> None:
    """Give up a promotion that the ledger has not recorded in time; a withdrawal holds until the next start.

    The record may yet be written: a promotion is withdrawn behind it, so that no restart trades what was given up. On a
    busy machine the ledger has more time, which is told.
    """
    waited_ms = wait_ns // MS
    if more_ms := excused_ms(fired.starved_ms, waited_ms, fired.excused_ms):
        turn.arm(Timer.RECORD, turn.now + more_ms * MS, command_id, fired.excused_ms + more_ms)
        busy = busy_text(fired.starved_ms, waited_ms)
        text = f"The ledger did not record promotion {command_id} in time, but {busy}."
        turn.publish(operator.Alarm(key="machine_busy", severity=Severity.WARNING, text=text, at_utc=turn.now))
        return
    found = take_promotion(turn, command_id)
    if found is None:
        return
    detail = "In force, but not recorded: a restart may forget it. Check the ledger, then repeat."
    if found.is_promoted:
        detail = (
            "The ledger has not answered in time, so the outcome is unknown. A withdrawal follows it, and these alerts"
            " are shadows; check the ledger, then promote them again."
        )
    denied = operator.CommandDenied(command_id=command_id, code=CommandRefused.LEDGER_SILENT, detail=detail)
    on_answer(turn, denied)
    if found.is_promoted:
        withdrawal = replace(
            found,
            command_id=f"{command_id}-withdrawn-{turn.now}",  # used once: the ledger drops a repeat
            is_promoted=False,
            by=turn.name,
            reason=f"promotion {command_id} was not recorded in time",
            at_utc=turn.now,
        )
        request_promotion(turn, withdrawal, wait_ns)


def take_promotion(turn: Turn[OperatorState], command_id: str) -> signals.RecordPromotion | None:
    """Return the promotion that waits for its record under this id, and wait no longer; `None`: there is none."""
    turn.disarm(Timer.RECORD, command_id)
    found = next((row for row in turn.state.promotions if row.command_id == command_id), None)
    turn.state.promotions = tuple(row for row in turn.state.promotions if row.command_id != command_id)
    return found


def kind_of(message: Promotion | signals.RecordPromotion) -> tuple[str, str, int]:
    """Return what a promotion, or its withdrawal, is about: source, kind and version."""
    return message.source, message.kind, message.version


def promotion_changed(row: signals.RecordPromotion) -> signals.PromotionChanged:
    """Return the event that puts a promotion or its withdrawal in force."""
    return signals.PromotionChanged(
        source=row.source, kind=row.kind, version=row.version, is_promoted=row.is_promoted, by=row.by
    )


def raise_kill(turn: Turn[OperatorState], message: operator.Kill | operator.Flatten, level: KillLevel) -> None:
    """Tell the kill switch to raise its level."""
    command = risk.RaiseKill(level=level, reason=message.reason, by=message.by, command_id=message.command_id)
    turn.tell(kill_of(message.desk), command)


def lower_kill(turn: Turn[OperatorState], message: operator.Resume) -> None:
    """Tell the kill switch to lower its level, if it is still the one that the person saw."""
    command = risk.LowerKill(
        level=message.level,
        reason=message.reason,
        by=message.by,
        expected_epoch=message.expected_epoch,
        command_id=message.command_id,
    )
    turn.tell(kill_of(message.desk), command)


def on_answer(turn: Turn[OperatorState], message: Answer) -> None:
    """Record what became of a command, and tell everybody who waits for it."""
    command = find(turn.state, message.command_id)
    if command is None or command.answer is not None:
        return
    if command.due_n > 1 and isinstance(message, operator.CommandDone):
        keep(turn.state, replace(command, due_n=command.due_n - 1, told=(*command.told, message.detail)))
        return
    if command.told:
        message = replace(message, detail=" ".join((*command.told, message.detail)))
    record(turn, command, "done" if isinstance(message, operator.CommandDone) else message.code)
    for reply_to in command.waiting:
        turn.report(reply_to, message)
    keep(turn.state, replace(command, waiting=(), answer=message))


def record(turn: Turn[OperatorState], known: Known, outcome: str) -> None:
    """Write the audit row."""
    command = known.command
    row = operator.RecordCommand(
        command_id=command.command_id,
        name=name_of(command),
        by=command.by,
        reason=reason_of(command),
        outcome=outcome,
        at_utc=turn.now,
    )
    turn.tell("ledger", row)


def reason_of(command: Asked) -> str:
    """Return the reason on record; with the desks that a command is about, where it names them."""
    match command:
        case operator.Switch():
            origin = f" from {command.from_desk}" if command.from_desk else ""
            return f"{command.strategy}{origin} to {command.to_desk}: {command.reason}"
        case _:
            return f"desk {desk}: {command.reason}" if (desk := desk_of(command)) else command.reason


# -- what is remembered -------------------------------------------------------------------------


def find(state: OperatorState, command_id: str) -> Known | None:
    """Return a command that is remembered."""
    return next((known for known in state.commands if known.command_id == command_id), None)


def keep(state: OperatorState, command: Known) -> None:
    """Remember a command as the newest, in the place of what was known of it."""
    others = tuple(known for known in state.commands if known.command_id != command.command_id)
    state.commands = (*others, command)[-KEPT:]


def is_same(one: Asked, other: Asked) -> bool:
    """Return whether two commands ask for the same; who waits, and until when it is asked, is nothing of that."""
    return type(one) is type(other) and one == replace(other, reply_to=one.reply_to, expires_utc=one.expires_utc)


def own_id(state: OperatorState, message: operator.Kill | operator.Flatten) -> str:
    """Return the id that a raise goes by: its own, or one made of it where that names something else or is undone."""
    command_id = message.command_id
    while (known := find(state, command_id)) is not None:
        if is_same(known.command, replace(message, command_id=command_id)) and not is_undone(state, known):
            break
        command_id += "+"
    return command_id


def is_undone(state: OperatorState, known: Known) -> bool:
    """Return whether a resume was carried out after a command was answered (the newest stand last)."""
    later = state.commands[state.commands.index(known) + 1 :]
    return known.answer is not None and any(
        isinstance(after.command, operator.Resume) and isinstance(after.answer, operator.CommandDone)
        and desk_of(known.command) in ("", after.command.desk) for after in later
    )  # fmt: skip


def is_outdated(state: OperatorState, known: Known) -> bool:
    """Return whether a resume or a promotion was carried out and undone since (the newest commands stand last)."""
    if not isinstance(known.answer, operator.CommandDone):
        return False
    later = state.commands[state.commands.index(known) + 1 :]
    match known.command:
        case operator.Resume(level=level, desk=desk):
            return state.levels.get(desk, KillLevel.RUNNING) > level or any(
                isinstance(after.command, operator.Kill | operator.Flatten)
                and after.command.desk in ("", desk)
                and not isinstance(after.answer, operator.CommandDenied)
                for after in later
            )
        case operator.Promote():
            of_kind = kind_of(known.command)
            return any(
                isinstance(after.command, operator.Demote) and kind_of(after.command) == of_kind for after in later
            )
        case operator.Kill() | operator.Flatten() | operator.Demote():
            return False
        case operator.Switch():
            return any(
                isinstance(after.command, operator.Switch) and after.command.strategy == known.command.strategy
                and isinstance(after.answer, operator.CommandDone) for after in later
            )  # fmt: skip
        case operator.Memberships():
            return any(
                isinstance(after.command, operator.Memberships) and isinstance(after.answer, operator.CommandDone)
                for after in later
            )
        case never:
            assert_never(never)


def outdated(known: Known) -> operator.CommandDenied:
    """Return what is answered to a command that is repeated after it was undone."""
    detail = outdated_text(name_of(known.command))
    return operator.CommandDenied(command_id=known.command_id, code=CommandRefused.OUTDATED, detail=detail)


def outdated_text(name: str) -> str:
    """Return in a sentence that a command of this name was carried out and undone."""
    return (
        f"This {name} was carried out before, and what came later undid it; look at the status, and give it under a new"
        " id if it is meant."
    )


def name_of(command: Asked) -> str:
    """Return the name that a command goes by on record."""
    return type(command).__name__.lower()


def report_reused(turn: Turn[OperatorState], known: Known, message: Asked) -> None:
    """Refuse a command whose id names another; the record of that one stands."""
    detail = (
        f"The id {message.command_id!r} names another command already ({name_of(known.command)} by"
        f" {known.command.by}); give this {name_of(message)} an id of its own."
    )
    denied = operator.CommandDenied(command_id=message.command_id, code=CommandRefused.ID_REUSED, detail=detail)
    turn.report(message.reply_to, denied)
