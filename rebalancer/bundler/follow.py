"""One nonce from "stored" to its end, by looking at the chain and nothing else.

``sighting.decide`` is the heart of it: a pure function of what the node shows. ``follow`` looks,
decides and acts until there is an end. It starts the same way for a transaction that was never
sent, one whose send got no answer, and one that another process sent before it was killed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rebalancer.bundler.broadcast import SIGHTINGS, Broadcast
from rebalancer.bundler.calls import CANCEL
from rebalancer.bundler.evidence import find_nonce_user
from rebalancer.bundler.head import Head, read_head
from rebalancer.bundler.lane import Desk
from rebalancer.bundler.pace import Pace, Watch
from rebalancer.bundler.sighting import Receipt, Sighting, Step, decide, look_up
from rebalancer.bundler.signer import Signer
from rebalancer.bundler.versions import cancellation, replacement, would_revert
from rebalancer.errors import NonceConflict, ReadError, RpcUnavailable
from rebalancer.evm.rpc import RpcError
from rebalancer.model import Bundle, Plan, SignedTransaction

__all__ = [
    "SIGHTINGS",
    "Dropped",
    "Mined",
    "Pace",
    "Sighting",
    "Step",
    "decide",
    "follow",
    "look_up",
]

#: So many blocks a cancellation is given before a person is asked.
CANCEL_BLOCKS = 10


@dataclass(frozen=True, slots=True)
class Dropped:
    """A transaction that never happened, why, and what used its nonce as far as that is known."""

    transaction: SignedTransaction
    step: Step
    reason: str
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Mined:
    """The version of a nonce that a block has."""

    transaction: SignedTransaction
    receipt: Receipt


def follow(
    desk: Desk,
    plan: Plan,
    bundle: Bundle,
    versions: list[SignedTransaction],
    rest: Sequence[SignedTransaction] = (),
    *,
    first: bool = True,
) -> Mined | Dropped | Step:
    """Bring one nonce of a bundle to its end.

    ``versions`` are all that were ever signed for it, oldest first; those signed on the way are
    appended. ``rest`` are the transactions after it. Returns what was mined, that and why nothing
    ever will be, or EARLIER (not for the ``first`` of a bundle). What it sends is stored before:
    versions of this nonce, and by a lane that sends all together the rest. Raises NonceConflict
    when the nonce stays blocked, ExecutionError when the transaction is refused, RpcUnavailable
    when node or chain stand still, Stopped when the process is to end, and what the lane's guard
    raises; the transaction stays open in all of these cases.
    """
    return _Follow(desk, plan, bundle, versions, rest, first).run()


class _Follow:
    """The versions of one nonce on their way, and what was seen of them."""

    def __init__(
        self,
        desk: Desk,
        plan: Plan,
        bundle: Bundle,
        versions: list[SignedTransaction],
        rest: Sequence[SignedTransaction],
        first: bool,
    ) -> None:
        self._desk = desk
        self._plan = plan
        self._bundle = bundle
        self._versions = versions
        self._first = first
        self._broadcast = Broadcast(desk, rest)
        self._since: int | None = None
        self._cancelled_at: int | None = None

    def run(self) -> Mined | Dropped | Step:
        try:
            return self._run()
        except ReadError as error:
            if self._broadcast.trouble:
                error.add_note(f"when it was sent last: {self._broadcast.trouble}")
            raise

    def _run(self) -> Mined | Dropped | Step:
        watch = Watch(self._desk.pace, self._newest.tx_hash)
        last, times = Step.WAIT, 0
        while True:
            try:
                head = read_head(self._desk.rpc)
                sighting = look_up(self._desk.rpc, self._versions, head)
                watch.saw(head)
                step = self._decide(sighting)
                last, times = step, times + 1 if step is last else 1
                if sighting.receipt is not None:
                    return Mined(self._version(sighting.mined), sighting.receipt)
                ending = self._act(step, times >= SIGHTINGS, sighting, head)
                if ending is not None:
                    return ending
            except (RpcUnavailable, RpcError) as error:
                watch.failed(error)
            watch.rest()

    @property
    def _newest(self) -> SignedTransaction:
        return self._versions[-1]

    @property
    def _signer(self) -> Signer | None:
        """Who may sign another version: the key that signed the first, if it is at hand.

        A Safe's transaction is sent by any key; the next run may have another one.
        """
        signer = self._desk.lane.signer
        if signer is None or signer.address.lower() != self._newest.sender.lower():
            return None
        return signer

    def _version(self, tx_hash: str) -> SignedTransaction:
        (found,) = (version for version in self._versions if version.tx_hash == tx_hash)
        return found

    def _decide(self, sighting: Sighting) -> Step:
        behind = sighting.nonce < self._newest.nonce and not sighting.in_block
        if behind and not self._first and sighting.receipt is None:
            return Step.EARLIER
        return decide(sighting, self._newest.nonce, self._bundle.deadline_ts)

    def _act(
        self, step: Step, believed: bool, sighting: Sighting, head: Head
    ) -> Dropped | Step | None:
        """What follows from a look; None to look again."""
        for version in self._versions:
            if version.tx_hash in sighting.seen:
                self._broadcast.note(version)
        if step is Step.SEND:
            self._broadcast.send(self._newest, head)
        elif step is Step.EARLIER and believed:
            return step
        elif step is Step.REPLACED and believed:
            return self._replaced(sighting, head)
        elif step is Step.EXPIRED and believed:
            reason = "not mined before its deadline, and the node does not know it"
            if self._broadcast.trouble:
                reason += f" ({self._broadcast.trouble})"
            return Dropped(self._newest, step, reason)
        elif step is Step.STUCK and believed and self._newest.purpose != CANCEL:
            self._cancel("its deadline is past", head)
        elif step in (Step.WAIT, Step.STUCK) and self._newest.tx_hash not in sighting.seen:
            self._broadcast.offer_once(self._newest, head)
        if step in (Step.WAIT, Step.SEND, Step.STUCK) and not sighting.in_block:
            self._keep_up(head)
        return None

    def _replaced(self, sighting: Sighting, head: Head) -> Dropped | None:
        """The end, once the transaction that used the nonce is found and deep enough."""
        nonce = self._newest.nonce
        past = sighting.head_timestamp > self._bundle.deadline_ts
        reason = f"nonce {nonce} was used by another transaction"
        try:
            user = find_nonce_user(
                self._desk.rpc, self._newest.sender, nonce, self._plan.block_number, head
            )
        except RpcError:
            # The node no longer keeps counts that old. After the deadline nothing can happen.
            return Dropped(self._newest, Step.REPLACED, reason) if past else None
        if user is None and past:
            raise NonceConflict(
                f"the node says that nonce {nonce} was used, and no block shows by what",
                hint="the transaction stays open; run again, or through another node",
                tx_hash=self._newest.tx_hash,
            )
        if user is None or user.tx_hash in {version.tx_hash for version in self._versions}:
            return None
        if head.number - user.block_number + 1 < self._desk.lane.confirmations:
            return None
        return Dropped(self._newest, Step.REPLACED, f"{reason}: {user.tx_hash}", user.tx_hash)

    def _keep_up(self, head: Head) -> None:
        """Raise the fees of what is out and not mined, by the lane's schedule."""
        lane = self._desk.lane
        if not self._broadcast.out:
            return
        if self._since is None:
            self._since = head.number
        if self._cancelled_at is None and self._newest.purpose == CANCEL:
            self._cancelled_at = head.number
        if (
            self._cancelled_at is not None
            and head.number - self._cancelled_at >= CANCEL_BLOCKS
            and head.timestamp > self._bundle.deadline_ts
        ):
            raise self._stuck("its cancellation is not mined either")
        due = lane.replace_after and head.number - self._since >= lane.replace_after
        signer = self._signer
        if not due or signer is None or not self._desk.submitter.replaceable:
            return
        reason = would_revert(self._desk.rpc, self._newest)
        if reason is not None:
            self._cancel(f"it would revert now: {reason}", head)
            return
        lane.guard()
        version = replacement(self._desk.rpc, signer, self._plan, self._newest)
        self._since = head.number
        if version is not None:
            self._take_over(version, head)

    def _cancel(self, why: str, head: Head) -> None:
        lane, signer = self._desk.lane, self._signer
        if signer is None or not self._desk.submitter.replaceable:
            raise self._stuck(why)
        lane.guard()
        version = cancellation(self._desk.rpc, signer, self._plan, self._newest)
        if version is None:
            raise self._stuck(f"{why}, and cancelling would cost more than is allowed")
        self._cancelled_at = self._since = head.number
        self._take_over(version, head)

    def _take_over(self, version: SignedTransaction, head: Head) -> None:
        """Store the version, then send it; the ones before it stay out there, and are watched."""
        alone = replace(self._bundle, transactions=(version,))
        self._desk.journal.store_version(alone, self._newest.tx_hash)
        self._versions.append(version)
        self._broadcast.offer_once(version, head)

    def _stuck(self, why: str) -> NonceConflict:
        newest = self._newest
        return NonceConflict(
            f"transaction {newest.tx_hash} (nonce {newest.nonce}) is still pending past"
            f" its deadline: {why}",
            hint="it can only revert now: wait until it is mined, or replace it by sending 0 ETH"
            f" from the wallet to itself with nonce {newest.nonce} and both fees at least"
            " 10 % higher, then run again",
            tx_hash=newest.tx_hash,
        )
