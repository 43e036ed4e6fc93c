"""Where LP positions were entered: the point that impermanent loss is measured from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rebalancer.config.portfolio import LpSpec
from rebalancer.errors import ReadError
from rebalancer.evm.abi import to_hex
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import BlockRef, LpEntry
from rebalancer.readers.call import Call, Result
from rebalancer.readers.chain import batch_on
from rebalancer.readers.pairs import get_reserves, total_supply
from rebalancer.readers.wire import as_data, refused

#: Calls in one batch, two less than some providers take: the block is looked at with them.
_BATCH = 98


def read_entries(
    rpc: Rpc, lps: Iterable[LpSpec], block: BlockRef
) -> Mapping[tuple[str, int], LpEntry]:
    """The pairs of ``lps`` at their ``entry_block``, by pair and block; one request, if any.

    Entries are ancestors of ``block``, so their numbers name them while it stands. They are asked
    without Multicall3, which may be younger than the entry. Raises ReadError for a node that does
    not keep state that old, and for a pair that was not there yet.
    """
    entered = {(lp.pair, lp.entry_block): lp for lp in lps if lp.entry_block is not None}
    if not entered:
        return {}
    for (_, number), lp in entered.items():
        if number > block.number:
            raise ReadError(
                f"entry_block {number} of {lp.name} is after block {block.number}, which is read",
                hint="correct or remove entry_block in the portfolio, or read a later block",
                block=block.number,
            )
    asked = [
        (call, number)
        for pair, number in entered
        for call in (get_reserves(pair), total_supply(pair))
    ]
    blocks = ", ".join(f"{lp.name} at block {number}" for (_, number), lp in entered.items())
    hint = "use an archive node, or remove entry_block from the portfolio (IL is then unknown)"
    results = calls_at(rpc, block, asked, f"the entry of {blocks}", hint)
    return {
        key: _entry(lp, key[1], results[2 * i], results[2 * i + 1])
        for i, (key, lp) in enumerate(entered.items())
    }


def calls_at(
    rpc: Rpc, block: BlockRef, asked: Sequence[tuple[Call, int]], what: str, hint: str
) -> list[Result]:
    """Results of calls, each at the ancestor of ``block`` with its number, in order; some hundred
    in a request.

    Without Multicall3. Raises ReadError, saying that ``what`` cannot be read, where the node
    refuses, as one does that keeps no state that old; Reorganised where ``block`` does not stand.
    """
    answers: list[object] = []
    try:
        for start in range(0, len(asked), _BATCH):
            chunk = asked[start : start + _BATCH]
            answers += batch_on(rpc, [_eth_call(call, number) for call, number in chunk], block)
    except RpcError as error:
        raise refused(error, what, hint=hint) from error
    return [
        Result(call, True, as_data(answer, "eth_call"))
        for (call, _), answer in zip(asked, answers, strict=True)
    ]


def _eth_call(call: Call, number: int) -> tuple[str, tuple[dict[str, str], str]]:
    return "eth_call", ({"to": call.target, "data": to_hex(call.data())}, hex(number))


def _entry(lp: LpSpec, number: int, reserves: Result, supply: Result) -> LpEntry:
    state, shares = reserves.values(), supply.values()
    if state is None or shares is None:
        why = (reserves if state is None else supply).failure
    elif 0 in state[:2] or shares[0] == 0:
        why = "the pair is empty"
    else:
        return LpEntry(number, int(state[0]), int(state[1]), int(shares[0]))
    raise ReadError(
        f"the entry of {lp.name} at block {number}: {why}",
        hint="correct or remove entry_block in the portfolio",
        block=number,
    )
