"""A chain in dictionaries for the ledger's audit: every value can be bent by a test."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import ledger_world as world
from eth_abi.abi import encode

from rebalancer.evm.abi import selector, to_hex, topic
from rebalancer.evm.rpc import RpcError
from rebalancer.model import Fill, Plan, SignedTransaction, TransactionOutcome

TRANSFER = topic("Transfer(address,address,uint256)")
SWAP = topic("Swap(address,uint256,uint256,uint256,uint256,address)")
BALANCE_OF = to_hex(selector("balanceOf(address)"))
STRANGER = "0x" + "57" * 20


class FakeChain:
    """JSON-RPC over plain data; balances are those after the block of that number."""

    def __init__(self) -> None:
        self.chain_id = 1
        self.head = 110
        self.hashes = {number: world.block_hash(number) for number in range(80, 111)}
        self.receipts: dict[str, dict[str, Any]] = {}
        self.transactions: dict[str, dict[str, Any]] = {}
        self.withdrawals: dict[int, list[dict[str, str]]] = defaultdict(list)
        self.native: dict[int, int] = {}
        self.tokens: dict[tuple[int, str], int] = defaultdict(int)
        self.nonces: dict[int, int] = defaultdict(int)
        self.archive = True
        self.calls: list[str] = []

    # What happens on it

    def mine(
        self,
        tx: SignedTransaction,
        outcome: TransactionOutcome,
        logs: Sequence[dict[str, Any]] = (),
    ) -> None:
        """Put one of our transactions into its block."""
        self.add(
            tx.tx_hash,
            outcome.block_number,
            sender=tx.sender,
            to=tx.to,
            nonce=tx.nonce,
            gas_used=outcome.gas_used,
            gas_price=outcome.effective_gas_price_wei,
            status=outcome.status,
            logs=logs,
        )

    def add(
        self,
        tx_hash: str,
        number: int | None,
        *,
        sender: str = STRANGER,
        to: str = STRANGER,
        nonce: int = 0,
        value: int = 0,
        gas_used: int = 21_000,
        gas_price: int = 10**9,
        status: int = 1,
        logs: Sequence[dict[str, Any]] = (),
    ) -> None:
        """Put any transaction into a block, or with None into the pool."""
        self.transactions[tx_hash] = {
            "hash": tx_hash,
            "from": sender.lower(),
            "to": to.lower(),
            "nonce": hex(nonce),
            "value": hex(value),
            "blockNumber": None if number is None else hex(number),
        }
        if number is None:
            return
        for log in logs:
            log["transactionHash"] = tx_hash
        self.receipts[tx_hash] = {
            "transactionHash": tx_hash,
            "blockNumber": hex(number),
            "blockHash": self.hashes[number],
            "status": hex(status),
            "gasUsed": hex(gas_used),
            "effectiveGasPrice": hex(gas_price),
            "from": sender.lower(),
            "to": to.lower(),
            "logs": list(logs),
        }

    # How it answers

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        return [self.call(method, *params) for method, params in calls]

    def call(self, method: str, *params: Any) -> Any:
        self.calls.append(method)
        return getattr(self, "_" + method)(*params)

    def _eth_chainId(self) -> str:
        return hex(self.chain_id)

    def _eth_blockNumber(self) -> str:
        return hex(self.head)

    def _eth_getTransactionReceipt(self, tx_hash: str) -> Any:
        return self.receipts.get(tx_hash)

    def _eth_getTransactionByHash(self, tx_hash: str) -> Any:
        return self.transactions.get(tx_hash)

    def _eth_getBlockByNumber(self, number: str, full: bool) -> Any:
        height = int(number, 16)
        if height not in self.hashes:
            return None
        inside = [tx for tx in self.transactions.values() if tx["blockNumber"] == number]
        return {
            "number": number,
            "hash": self.hashes[height],
            "parentHash": self.hashes.get(height - 1, "0x00"),
            "transactions": inside if full else [tx["hash"] for tx in inside],
            "withdrawals": self.withdrawals[height],
        }

    def _eth_getTransactionCount(self, wallet: str, block: str) -> str:
        assert wallet == world.WALLET
        number = int(block, 16)
        return hex(max((n for at, n in self.nonces.items() if at <= number), default=0))

    def _eth_getBalance(self, wallet: str, block: dict[str, str]) -> str:
        assert wallet == world.WALLET
        return hex(self.native[self._number(block)])

    def _eth_call(self, request: dict[str, str], block: dict[str, str]) -> str:
        owner = int(world.WALLET, 16)
        assert request["data"] == BALANCE_OF + f"{owner:064x}"
        return f"0x{self.tokens[self._number(block), request['to']]:064x}"

    def _eth_getLogs(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        wanted = {address.lower() for address in query["address"]}
        number = hex(self._number(query))
        found = []
        for receipt in self.receipts.values():
            for log in receipt["logs"]:
                pairs = zip(query["topics"], log["topics"], strict=False)
                if (
                    receipt["blockNumber"] == number
                    and log["address"].lower() in wanted
                    and all(want in (None, have) for want, have in pairs)
                ):
                    found.append(log)
        return found

    def _number(self, block: dict[str, str]) -> int:
        for number, name in self.hashes.items():
            if name == block["blockHash"]:
                if not self.archive:
                    raise RpcError("eth_call", -32000, "missing trie node")
                return number
        raise RpcError("eth_call", -32001, "block not found")


def word(address: str) -> str:
    return f"0x{int(address, 16):064x}"


def transfer_log(token: str, sender: str, receiver: str, amount: int, index: int) -> dict[str, Any]:
    return {
        "address": token.lower(),
        "topics": [TRANSFER, word(sender), word(receiver)],
        "data": to_hex(encode(["uint256"], [amount])),
        "logIndex": hex(index),
    }


def swap_log(fill: Fill, index: int, sender: str = world.EXECUTOR) -> dict[str, Any]:
    zero_for_one = int(fill.token_in.address, 16) < int(fill.token_out.address, 16)
    amounts = [fill.amount_in, 0, 0, fill.amount_out]
    if not zero_for_one:
        amounts = [0, fill.amount_in, fill.amount_out, 0]
    return {
        "address": fill.pair.lower(),
        "topics": [SWAP, word(sender), word(world.WALLET)],
        "data": to_hex(encode(["uint256"] * 4, amounts)),
        "logIndex": hex(index),
    }


def execution_logs(plan: Plan, fills: Sequence[Fill]) -> list[dict[str, Any]]:
    """Logs of a plan carried out as in ``fills``: a transfer in, a transfer out, a swap per leg."""
    logs: list[dict[str, Any]] = []
    for leg, fill in zip(plan.legs, fills, strict=True):
        following = plan.legs[fill.index + 1 : fill.index + 2]
        receiver = following[0].pair if following and following[0].chained else plan.wallet
        if not leg.chained:
            logs.append(
                transfer_log(
                    fill.token_in.address, plan.wallet, leg.pair, fill.amount_in, len(logs)
                )
            )
        out = fill.token_out.address
        logs.append(transfer_log(out, leg.pair, receiver, fill.amount_out, len(logs)))
        logs.append(swap_log(fill, len(logs)))
    return logs


def settled_chain(plan: Plan, nonce: int = 7, number: int = 101) -> FakeChain:
    """The chain of ``ledger_world.execute``, and what else happened in that block.

    A stranger sends the wallet 5 USDC and 3 wei, the wallet pays 1 USDC to itself and 2 USDC to the
    stranger by a transaction of its own that is not in the ledger, and a validator's withdrawal of
    4 gwei arrives. Written down number by number, so that the audit is checked against arithmetic
    that is not its own.
    """
    chain = FakeChain()
    approve, run = world.signed("approve", nonce), world.signed("execute", nonce + 1)
    approved, done = world.outcome(approve, number), world.executed(plan, run, number)
    chain.mine(approve, approved)
    chain.mine(run, done, execution_logs(plan, done.fills))
    usdc, weth, wbtc = world.USDC.address, world.WETH.address, world.WBTC.address
    chain.add(
        "0x" + "a1" * 32,
        number,
        to=usdc,
        logs=[
            transfer_log(usdc, STRANGER, world.WALLET, 5_000_000, 50),
            transfer_log(weth, STRANGER, usdc, 123, 51),
        ],
    )
    chain.add("0x" + "a2" * 32, number, to=world.WALLET, value=3)
    chain.add("0x" + "a3" * 32, number, to=world.WALLET, value=1_000, status=0)
    chain.add(
        "0x" + "a4" * 32,
        number,
        sender=world.WALLET,
        to=usdc,
        nonce=nonce + 2,
        value=11,
        gas_used=50_000,
        gas_price=10**9,
        logs=[
            transfer_log(usdc, world.WALLET, world.WALLET, 1_000_000, 60),
            transfer_log(usdc, world.WALLET, STRANGER, 2_000_000, 61),
        ],
    )
    chain.withdrawals[number] = [
        {"address": world.WALLET.lower(), "amount": "0x4"},
        {"address": STRANGER, "amount": "0xffff"},
    ]
    gas_wei = 46_162 * 21_000_000_000 + 279_017 * 21_000_000_007
    chain.native = {
        number - 1: 5 * 10**18,
        number: 5 * 10**18 - gas_wei + 3 - 11 - 50_000 * 10**9 + 4 * 10**9,
    }
    before = {usdc: 400_000_000_000, weth: 100 * 10**18, wbtc: 200_000_000}
    after = {
        usdc: 400_000_000_000 - 30_000_000_000 - 60_000_000_000 + 5_000_000 - 2_000_000,
        weth: 100 * 10**18 + 9_950 * 10**15,
        wbtc: 200_000_000 + 98_000_000,
    }
    for token in before:
        chain.tokens[number - 1, token] = before[token]
        chain.tokens[number, token] = after[token]
    chain.tokens[number - 1, world.USDC_WETH] = 10**15
    chain.tokens[number, world.USDC_WETH] = 10**15
    chain.nonces[number] = nonce + 3
    return chain
