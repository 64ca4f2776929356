"""The live runtime: a pykka thread per actor; the pykka inbox carries wake-ups, the mail stands in the mailboxes.

A thread that has decided for one actor goes on with the first idle actor that it told: waking another thread for it
would cost more than the decision. (A pure one before one that does I/O, unless an order waits for that: the message
`GOES_FIRST`. Of those that do I/O only such as any thread may serve.)
The two actors' shells change places before that, so each actor always has a thread that waits for its mail or handles
it, and one that gets stuck takes no other along. A wake-up says whom it is for; one that comes to a thread whose actor
has moved is handed on. The others that were told are woken when the thread ends its chain or turns to I/O: until then
they would only take the interpreter from it. They wait for I/O that goes first, too: each statement of SQLite gives the
interpreter away, and has it back when whoever took it is done. Where the chain has ended in an order, they are woken
once its port has spoken: the order's bytes leave before anybody works on what the order has led to. No wake-up is held
for long: those of a chain, or of an order, that has lasted for `HELD_AT_MOST_S` are sent by a thread of their own.

Actors whose policy `gives_way` (market data, stores, screens) take no mail while one on whom money depends, or that
`goes_first`, has some, or an order is leaving, for `GIVE_WAY_AT_MOST_S` a message, and compute one after the other.
Such a turn lasts until the chain that it began has ended: of eight tickers that close together, the next is not begun
between a reading and the order that it leads to. Those that `goes_last` says (stores, screens, what looks back) wait
for them, too, unless `FEW` messages wait there already: of eight tickers the last is read before the first is stored.
"""

from __future__ import annotations

import heapq
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import pykka

from domain.instants import MS
from domain.units import Utc
from messages import lifecycle
from messages.base import Message
from supervision.actor import Actor, IoActor
from supervision.cell import Cell
from supervision.clock import MarketClock
from supervision.host import Host
from supervision.mailbox import Timer
from supervision.post import SUPERVISOR, sentence
from supervision.spec import Tree
from supervision.starvation import StarvationMeter
from supervision.trace import Trace

HELD_AT_MOST_S = 0.005  # a chain ends long before that, unless one of its actors is slow or a port's sink blocks
GIVE_WAY_AT_MOST_S = 0.005
LAST_AT_MOST_S = 0.02
FEW = 32
_GIVE_WAY_S = 0.0002
BESIDE_AT_MOST_S = 0.05  # of eight tickers that close together the last one waits for seven
_LOOK_AGAIN_S = 1.0  # a clock that another process leads may change without a word


class LiveShell(pykka.ThreadingActor):
    """The thread of one incarnation; nothing that its actor raises gets past `on_receive`.

    `serves` says whose: cell and incarnation, replaced together when two shells change places. `held` are cells whose
    wake-ups are held back, one a mail, while the thread `is_going_on`; whoever takes one out sends it. `onward` is the
    one of them with which the thread means to go on, if that is still in there when its turn is over. `leaves_by` is
    the port that has been handed an order and has not spoken since; empty: none. `began_s` is when the present chain
    began, or that order left (of `time.monotonic`), `turn` the lock that it holds while it computes beside others.
    """

    use_daemon_thread = True

    @staticmethod
    def _create_actor_inbox() -> Any:
        # SimpleQueue: seven times the throughput of pykka's own queue.Queue (pykka 4.5.0; a test holds the hook).
        return queue.SimpleQueue()

    def __init__(self, runtime: LiveRuntime, cell: Cell, incarnation: int) -> None:
        super().__init__()
        self._runtime = runtime
        self.serves = (cell, incarnation)
        self.onward: Cell | None = None
        self.is_going_on = False
        self.held: deque[Cell] = deque()
        self.leaves_by = ""
        self.began_s = 0.0
        self.turn: threading.Lock | None = None
        cell.shell = self

    def on_start(self) -> None:
        """Make the thread known to the watchdog."""
        self.serves[0].thread = threading.current_thread()
        self._runtime.this.shell = self

    def on_receive(self, message: object) -> None:
        """Handle one mail per wake-up, and what it leads on to; stop once the incarnation is over."""
        runtime = self._runtime
        assert isinstance(message, Cell)
        try:
            if message is not self.serves[0]:
                runtime.wake(message)
            else:
                runtime.serve(self)
        except BaseException as error:  # a bug of the runtime's own: no actor's exception gets here
            runtime.fail(f"the runtime failed in {self.serves[0].name}: {sentence(error)}")
        cell, incarnation = self.serves
        if runtime.is_stopping or not cell.is_current(incarnation):
            runtime.free(self)
            self.stop()

    def on_stop(self) -> None:
        """Release what an I/O actor holds, in its own thread."""
        self._runtime.close_actor(*self.serves)


class LiveRuntime(Host):
    """Threads, real timers, edges that ask."""

    is_timed = True

    def __init__(
        self,
        tree: Tree,
        trace: Trace,
        clock: MarketClock,
        run_n: int,
        sync_every_s: float = 0.1,
        mailbox_soft_bound: int = 10_000,
    ) -> None:
        super().__init__(tree, trace, clock, run_n, mailbox_soft_bound)
        self.this = threading.local()  # `shell`: that of the present thread, if it is an actor's
        self._beside = threading.Lock()
        self._first: tuple[dict[str, Cell], list[Cell], list[Cell]] = ({}, [], [])
        self._places = threading.Lock()  # who serves which cell; taken last of all
        self._leaving: dict[str, LiveShell] = {}  # by port, who has handed it an order of which it has not spoken
        self.market_clock = clock
        self.starvation: StarvationMeter | None = None  # the watchdog's
        self._timers: list[tuple[Utc, int, Cell, Timer]] = []
        self._timer_n = 0
        self._timers_changed = threading.Condition()
        self._sync_every_s = sync_every_s
        self._stop_wanted = threading.Event()
        self.end_wanted = threading.Event()
        clock.on_change.append(self._look_at_timers)
        self._helpers = [
            threading.Thread(target=self._guarded, args=(work,), name=name, daemon=True)
            for name, work in (("timers", self._run_timers), ("sync", self._run_sync), ("held", self._run_held))
        ]
        for helper in self._helpers:
            helper.start()

    def _guarded(self, work: Callable[[], None]) -> None:
        """Run a helper thread; its death would be silent and the process without timers, so that ends the process."""
        try:
            work()
        except BaseException as error:
            self.fail(f"the thread {threading.current_thread().name!r} failed: {sentence(error)}")

    def _wake(self, cell: Cell) -> None:
        shell: LiveShell | None = getattr(self.this, "shell", None)
        if shell is None or not shell.is_going_on:
            self.wake(cell)
            return
        shell.held.append(cell)
        if shell.leaves_by or not _may_be_gone_on_with(cell):
            return
        if shell.onward is None or _urgency(cell) > _urgency(shell.onward):
            shell.onward = cell

    def wake(self, cell: Cell) -> None:
        """Wake the thread that serves a cell now."""
        try:
            with self._places:
                cell.shell.actor_ref.tell(cell)
        except pykka.ActorDeadError:
            return  # the mail stays; the next incarnation is woken for all of it

    def _wake_held(self, shell: LiveShell) -> None:
        """Send the wake-ups that a shell's thread has held back; from any thread."""
        while shell.held:
            try:
                cell = shell.held.popleft()
            except IndexError:
                return  # another thread was quicker
            self.wake(cell)

    def _hold_for(self, port: str) -> None:
        shell: LiveShell | None = getattr(self.this, "shell", None)
        if shell is None or not shell.is_going_on:
            return
        for other in {shell, self._leaving.get(port, shell)}:
            if other.leaves_by:  # one order at a time, of a thread and of a port
                self.free(other)
        shell.onward, shell.began_s, shell.leaves_by = None, time.monotonic(), port
        self._leaving[port] = shell

    def free(self, shell: LiveShell) -> None:
        """Send what a shell's thread holds back, also for an order that leaves; from any thread."""
        port, shell.leaves_by = shell.leaves_by, ""
        if port and self._leaving.get(port) is shell:
            self._leaving.pop(port, None)
        self._wake_held(shell)

    def post(self, to: str, message: Message, sender: str) -> None:
        """Put a message from outside the tree into a mailbox; a port that speaks has done what it was last told.

        Raises:
            KeyError: a role that nobody declared.
        """
        super().post(to, message, sender)
        shell = self._leaving.pop(sender, None)
        if shell is not None:
            self.free(shell)

    @property
    def is_leaving(self) -> bool:
        """Whether an order has been handed to a port that has not spoken since."""
        return bool(self._leaving)

    def is_at_rest(self) -> bool:
        """Return whether nobody has anything to do at this moment (from any thread)."""
        cells = self.cells.values()
        return not (self.is_leaving or any(cell.in_hand is not None or cell.mailbox.depth() for cell in cells))

    def _run_held(self) -> None:
        while not self._stop_wanted.wait(HELD_AT_MOST_S):
            # One whose order leaves may be nobody's any more: its actor has been started anew meanwhile.
            for shell in (*(cell.shell for cell in self.cells.values()), *list(self._leaving.values())):
                is_holding = isinstance(shell, LiveShell) and (shell.held or shell.leaves_by)
                if is_holding and time.monotonic() - shell.began_s > HELD_AT_MOST_S:
                    self.free(shell)

    def _start_shell(self, cell: Cell, incarnation: int) -> None:
        LiveShell.start(self, cell, incarnation)

    def serve(self, shell: LiveShell) -> None:
        """Handle one mail of a shell's actor (in the shell's thread), then go on with whom it told, and whom that told.

        The wake-up that was saved is sent after all where going on is not possible.
        """
        if shell.leaves_by:
            self.free(shell)
        shell.began_s = time.monotonic()
        while True:
            cell, incarnation = shell.serves
            if cell.spec.policy.goes_last:
                self._give_way(shell, cell)
            elif cell.spec.policy.gives_way:
                self._begin_beside(shell, cell)
            shell.is_going_on = _may_move(cell)
            try:
                self.handle_next(cell, incarnation, shell)
            finally:
                shell.is_going_on = False
                onward = _taken_onward(shell)
                has_changed = onward is not None and self._change_places(shell, onward)
                if onward is not None and not has_changed:
                    self.wake(onward)
                if not has_changed:
                    _end_turn(shell)
                    self.trace.settle()
                if not shell.leaves_by and (not has_changed or not _urgency(shell.serves[0])):
                    self._wake_held(shell)
            if not has_changed:
                return

    def _begin_beside(self, shell: LiveShell, cell: Cell) -> None:
        """Wait for the turn of a cell that gives way; the shell's chain keeps it to its end.

        Those that compute do so one after the other: all at once each would take as long as all, and the one with an
        order would be done last. One that does I/O has no part in that: it lets the others compute. Whoever is stuck in
        a turn keeps the lock; the others have another one from then on.
        """
        if shell.turn is None and not _is_io(cell):
            lock = self._beside
            if not lock.acquire(blocking=False):
                self._wake_held(shell)
                if not lock.acquire(timeout=BESIDE_AT_MOST_S):
                    self._beside = threading.Lock()
                    return
            shell.turn = lock
        self._give_way(shell, cell)

    def _give_way(self, shell: LiveShell, cell: Cell) -> None:
        """Let those go first for whom one gives way: only one thread at a time computes.

        No fence is held meanwhile and no wake-up, so nobody waits for whom is waited for; and the wait is short, so
        whoever is stuck there does not hold up the others.
        """
        until_s, is_last = 0.0, cell.spec.policy.goes_last
        while self._are_first_busy(is_last) and not (is_last and len(cell.critical) > FEW):
            if not until_s:
                self._wake_held(shell)
                until_s = time.monotonic() + (LAST_AT_MOST_S if is_last else GIVE_WAY_AT_MOST_S)
            elif time.monotonic() > until_s:
                return
            time.sleep(_GIVE_WAY_S)

    def _are_first_busy(self, is_last: bool) -> bool:
        """Return whether those have anything to do for whom one gives way who goes last, or does not."""
        cells = self.cells
        if self._first[0] is not cells:  # positions come and go; the dictionary is replaced then
            first = [cell for cell in cells.values() if cell.spec.policy.is_given_way]
            beside = [cell for cell in cells.values() if cell.spec.policy.gives_way and not cell.spec.policy.goes_last]
            self._first = cells, first, first + beside
        before = self._first[2] if is_last else self._first[1]
        # The mailbox first: mail that is taken meanwhile is found in hand.
        return self.is_leaving or any(cell.critical or cell.in_hand is not None for cell in before)

    def _change_places(self, shell: LiveShell, onward: Cell) -> bool:
        """Have a shell serve an idle actor, and that one's shell the actor that it has served; False where it cannot.

        It cannot where either actor's incarnation is over, where the other one is busy by now, or while wake-ups for
        the first wait in this thread's inbox: they would wait for the second.
        """
        cell, incarnation = shell.serves
        with onward.fence:
            if not onward.is_up or onward.in_hand is not None or onward.started is not None:
                return False
            other: LiveShell = onward.shell
            with self._places:
                is_mine = cell.shell is shell and cell.is_current(incarnation)
                if not is_mine or not shell.actor_inbox.empty() or other.serves != (onward, onward.incarnation):
                    return False
                cell.shell, onward.shell = other, shell
                cell.thread, onward.thread = onward.thread, cell.thread
                shell.serves, other.serves = other.serves, shell.serves
        return True

    def _arm(self, cell: Cell, timer: Timer) -> None:
        if self.starvation is not None and isinstance(cell.actor, Actor) and timer.key[0] in cell.actor.weighs:
            timer.began = self.clock.now_utc(), self.starvation.total_ns
        with self._timers_changed:
            self._timer_n += 1
            heapq.heappush(self._timers, (timer.at_utc, self._timer_n, cell, timer))
            if self._timers[0][3] is timer:
                self._timers_changed.notify()

    def _starved_ms(self, since_utc: Utc, starved_ns: int) -> int:
        if self.starvation is None:
            return 0
        lost_ns = (self.starvation.look() - starved_ns) * max(1.0, self.market_clock.rate)
        return round(min(lost_ns, self.clock.now_utc() - since_utc) / MS)

    def _look_at_timers(self) -> None:
        """Have the timers' thread reckon its wait anew: the clock's pace has changed."""
        with self._timers_changed:
            self._timers_changed.notify()

    def _on_end(self) -> None:
        self.end_wanted.set()

    def _run_timers(self) -> None:
        while not self.is_stopping:
            with self._timers_changed:
                wait_s = self.market_clock.real_wait_s(self._timers[0][0]) if self._timers else _LOOK_AGAIN_S
                if wait_s > 0:
                    self._timers_changed.wait(min(wait_s, _LOOK_AGAIN_S))
                    continue
                _, _, cell, timer = heapq.heappop(self._timers)
            self._timer_due(cell, timer)

    def _run_sync(self) -> None:
        while not self._stop_wanted.wait(self._sync_every_s):
            self.trace.sync()
            self.trace.mend()
            if self.trace.failed is not None and self.latched is None:
                self.latch(self.trace.failed)
                self._halt("trace", self.trace.failed)

    def ask(self, edge: str, to: str, message: Message, timeout_s: float) -> Message | None:
        """Tell `message` (whose `reply_to` is `edge:<edge>`) and wait for the answer; `None` when none came in time.

        A mailbox over its soft bound takes nothing more from edges: `CommandFailed` says so at once.

        Raises:
            ValueError: somebody is asking as this edge already.
        """
        answers: queue.SimpleQueue[Message] = queue.SimpleQueue()
        take = answers.put
        address = f"edge:{edge}"
        cell = self.cells.get(to)
        if cell is not None and cell.is_over_bound:
            return lifecycle.CommandFailed(name=to, error="too many messages are waiting there; try again later")
        if self.sinks.setdefault(address, take) is not take:
            raise ValueError(f"{address} is asking already")
        try:
            self.post(to, message, address)
            return answers.get(timeout=timeout_s)
        except queue.Empty:
            return None
        finally:
            self.sinks.pop(address, None)

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Let each actor finish what it has in hand and nothing more; False when some did not within the time."""
        self.is_stopping = True
        self._stop_wanted.set()
        with self._timers_changed:
            self._timers_changed.notify_all()
        up = [cell for cell in self.cells.values() if cell.is_up]
        for cell in up:
            self._wake(cell)
        deadline = time.monotonic() + timeout_s
        for thread in (*self._helpers, *(cell.thread for cell in up if cell.thread is not None)):
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(cell.thread is not None and cell.thread.is_alive() for cell in up)


def _taken_onward(shell: LiveShell) -> Cell | None:
    """Take the wake-up that a turn has saved out of those that are held back; `None` where it was sent meanwhile."""
    onward, shell.onward = shell.onward, None
    if onward is None:
        return None
    try:
        shell.held.remove(onward)
    except (ValueError, IndexError):  # another thread was quicker
        return None
    return onward


def _end_turn(shell: LiveShell) -> None:
    turn, shell.turn = shell.turn, None
    if turn is not None:
        turn.release()


def _is_io(cell: Cell) -> bool:
    return isinstance(cell.actor, IoActor)


def _urgency(cell: Cell) -> int:
    """Return 2 where an order waits for the mail that a cell has, 1 for another pure actor's, 0 for other I/O."""
    try:
        if cell.critical[0].message.GOES_FIRST:
            return 2
    except IndexError:  # its own thread was quicker
        pass
    return int(not _is_io(cell))


def _may_move(cell: Cell) -> bool:
    """Return whether any thread may handle a cell's mail: not that of I/O which is bound to its own, nor of the
    supervisor, who holds the fences of others."""
    actor = cell.actor
    return not (isinstance(actor, IoActor) and actor.is_bound) and cell.name != SUPERVISOR


def _may_be_gone_on_with(cell: Cell) -> bool:
    """Return whether a cell looks idle but for one mail, that of its critical lane where something waits in both."""
    is_idle = cell.in_hand is None and cell.started is None and (len(cell.critical) or cell.mailbox.depth()) == 1
    return is_idle and not cell.spec.policy.goes_last and _may_move(cell)
