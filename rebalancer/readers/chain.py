"""Blocks: which one is read, on which chain, and whether it still stands afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rebalancer.config.networks import Network
from rebalancer.errors import ChainMismatch, ReadError, RpcUnavailable
from rebalancer.evm.rpc import Call as RpcCall
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import BlockRef
from rebalancer.readers.wire import as_hash, as_quantity, is_hash, refused

#: EIP-1474 "method not supported" and JSON-RPC 2.0 "method not found".
_NO_SUCH_METHOD = (-32004, -32601)
#: What is offered to the block's producer where the node has no opinion: 1 gwei.
FALLBACK_PRIORITY_FEE_WEI = 10**9


class Reorganised(ReadError):
    """A block that was read is not part of the chain any more."""


def read_block(
    rpc: Rpc, block: int | str | None = None, network: Network | None = None
) -> BlockRef:
    """Find a block by number, by hash (0x and 64 hex digits), or the head (None); one request.

    ``base_fee_wei`` is 0 before London, where headers have no ``baseFeePerGas``. With ``network``
    the chain id is checked first. Raises ChainMismatch, or ReadError for a block that is not there.
    """
    name, method, parameter = _request(block)
    try:
        chain_id, header = rpc.batch([("eth_chainId", ()), (method, (parameter, False))])
    except RpcError as error:
        raise refused(error, name) from error
    chain_id = as_quantity(chain_id, "eth_chainId")
    if network is not None:
        _require_chain(chain_id, network)
    if header is None:
        raise ReadError(
            f"the node has no {name}",
            hint="it may not be mined yet, may be reorganised away, or the node may lag behind",
            block=block if isinstance(block, int) else None,
        )
    found = parse_header(header, chain_id)
    if (isinstance(block, int) and found.number != block) or (
        isinstance(block, str) and found.hash != block.lower()
    ):
        raise RpcUnavailable(
            f"asked for {name}, the node answered with block {found.number} ({found.hash})",
            hint="the endpoint is faulty: use another one",
        )
    return found


def check_chain_id(rpc: Rpc, network: Network) -> None:
    """Raise ChainMismatch unless ``rpc`` serves the chain of ``network``; one request."""
    try:
        answer = rpc.call("eth_chainId")
    except RpcError as error:
        raise refused(error, "the chain id") from error
    _require_chain(as_quantity(answer, "eth_chainId"), network)


def read_fee_and_recheck(rpc: Rpc, block: BlockRef) -> int:
    """Suggested priority fee in wei, having seen that ``block`` is still canonical; one request.

    The fee is the node's suggestion for its head (``eth_maxPriorityFeePerGas``), 1 gwei where the
    node lacks the method. Raises ReadError when another block stands at the number: the chain was
    reorganised during the read, so what was read is of a chain that is no more.
    """
    recheck = ("eth_getBlockByNumber", (hex(block.number), False))
    fee: int | None = None
    try:
        try:
            answer, header = rpc.batch([("eth_maxPriorityFeePerGas", ()), recheck])
            fee = as_quantity(answer, "eth_maxPriorityFeePerGas")
        except RpcError as error:
            if error.code not in _NO_SUCH_METHOD:
                raise
            header = rpc.call(recheck[0], *recheck[1])
    except RpcError as error:
        raise refused(error, f"block {block.number}", block.number) from error
    _require_standing(header, block)
    return FALLBACK_PRIORITY_FEE_WEI if fee is None else fee


def batch_on(rpc: Rpc, calls: Sequence[RpcCall], *blocks: BlockRef) -> list[Any]:
    """Answers of ``calls`` that name blocks by number, from a node on whose chain ``blocks`` stand.

    It is looked at before and after the calls, in the same request, so that it is the same node
    that answers. A block that stands has all its ancestors below it: numbers up to its own mean
    them. Raises Reorganised where one does not stand, RpcError for the node's no.
    """
    looks: list[RpcCall] = [("eth_getBlockByNumber", (hex(b.number), False)) for b in blocks]
    answers = rpc.batch([*looks, *calls, *looks])
    for header, block in zip(
        (*answers[: len(looks)], *answers[-len(looks) :]), blocks * 2, strict=True
    ):
        _require_standing(header, block)
    return answers[len(looks) : -len(looks)]


def _require_standing(header: Any, block: BlockRef) -> None:
    """Raise Reorganised unless ``header``, which the node has at that number, is the block's."""
    now = None if header is None else parse_header(header, block.chain_id)
    if now is None or now.hash != block.hash:
        raise Reorganised(
            f"block {block.number} ({block.hash}) is not part of the chain any more",
            hint="the chain was reorganised during the read: try again",
            block=block.number,
        )


def _request(block: int | str | None) -> tuple[str, str, str]:
    """A block's name for people, and the method and parameter that ask for it."""
    if block is None:
        return "head", "eth_getBlockByNumber", "latest"
    if isinstance(block, int) and block >= 0:
        return f"block {block}", "eth_getBlockByNumber", hex(block)
    if is_hash(block):
        return f"block {block}", "eth_getBlockByHash", str(block).lower()
    raise ReadError(
        f"{block!r} names no block",
        hint="give a number, a hash (0x and 64 hex digits), or nothing for the head",
    )


def parse_header(header: Any, chain_id: int) -> BlockRef:
    """A block from its header; raises RpcUnavailable for what is none."""
    if not isinstance(header, Mapping):
        raise RpcUnavailable(
            "the node's answer for a block is not a header",
            hint="the endpoint is faulty: use another one",
        )
    base_fee = header.get("baseFeePerGas")
    return BlockRef(
        chain_id=chain_id,
        number=as_quantity(header.get("number"), "a block's number"),
        hash=as_hash(header.get("hash"), "a block's hash"),
        timestamp=as_quantity(header.get("timestamp"), "a block's timestamp"),
        base_fee_wei=0 if base_fee is None else as_quantity(base_fee, "a block's base fee"),
    )


def _require_chain(chain_id: int, network: Network) -> None:
    if chain_id != network.chain_id:
        raise ChainMismatch(
            f"the node serves chain {chain_id}, {network.name} is chain {network.chain_id}",
            hint=f"point {network.rpc_url_env} or --rpc-url at {network.name}, "
            "or choose the other network in the portfolio",
        )
