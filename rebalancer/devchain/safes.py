"""A genuine Safe 1.3.0 on a development chain, at the addresses that Safe has everywhere."""

from __future__ import annotations

from collections.abc import Sequence

from rebalancer.devchain.artifacts import safe
from rebalancer.devchain.cheats import Call, call_of, has_code, mine_block, word
from rebalancer.evm.rpc import Rpc

#: Safe 1.3.0 and MultiSendCallOnly 1.3.0: CREATE2 of their code, so the same on every chain.
SINGLETON = "0xd9Db270c1B5E3Bd161E8c8503c55cEABeE709552"
MULTI_SEND = "0x40A2aCCbd92BCA938b02010E17A5b8929b49130D"
_CREATE2_PROXY = "0x4e59b44847b379578588920cA78FbF26c0B4956C"
_NOBODY = "0x" + "00" * 20
_SETUP = "setup(address[],uint256,address,bytes,address,address,uint256,address)"


def install_safe(rpc: Rpc, address: str, owners: Sequence[str], threshold: int, payer: str) -> None:
    """Make ``address`` a Safe with these owners, keeping the money that it holds.

    Singleton and MultiSendCallOnly are created as everywhere; the Safe's own proxy is put where it
    is wanted. ``payer`` sends the transactions.
    """
    for name, where in (("GnosisSafe", SINGLETON), ("MultiSendCallOnly", MULTI_SEND)):
        if not has_code(rpc, where):
            data = word(0) + safe(name)["bytecode"].removeprefix("0x")
            mine_block(rpc, payer, [Call(_CREATE2_PROXY, data, gas_limit=6_000_000)])
    rpc.call("anvil_setCode", address, safe("GnosisSafeProxy")["runtime"])
    rpc.call("anvil_setStorageAt", address, word(0), word(SINGLETON))
    arguments = (list(owners), threshold, _NOBODY, b"", _NOBODY, _NOBODY, 0, _NOBODY)
    mine_block(rpc, payer, [call_of(address, _SETUP, *arguments)])
