"""A plan of every kind of leg, made by hand, and the logs of its execution."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bundler_fakes import USDC, USDC_WETH, WALLET, WETH, leg, plan_of
from eth_abi.abi import encode

from rebalancer.bundler.fills import BURN, DEPOSIT, MINT, SWAP, TRANSFER, WITHDRAWAL
from rebalancer.evm.abi import to_hex
from rebalancer.model import AddLeg, Amount, Plan, RemoveLeg, Token, UnwrapLeg, WrapLeg

ETH = Token("0x" + "00" * 20, "ETH", 18)
DAI = Token("0x6B175474E89094C44Da98b954EedeAC495271d0F", "DAI", 18)
DAI_USDC = "0xAE461cA67B15dc8dc81CE7615e0320dA1A9aB8D5"
NOBODY = ETH.address
UNIT = 10**18

WRAP = WrapLeg(ETH, WETH, UNIT)
REMOVE = RemoveLeg(
    USDC_WETH, "uniswap_v2", USDC, WETH, 123 * 10**16, 10**9, UNIT // 2, 99 * 10**7, UNIT * 2 // 5
)
SWAP_LEG = leg(DAI_USDC, USDC, DAI, 4 * 10**8, 400 * UNIT)
ADD = AddLeg(DAI_USDC, "uniswap_v2", DAI, USDC, 400 * UNIT, 4 * 10**8, 3 * UNIT, 29 * 10**17)
UNWRAP = UnwrapLeg(ETH, WETH, UNIT // 4)
LEGS: Any = (WRAP, REMOVE, SWAP_LEG, ADD, UNWRAP)


NET = (
    Amount(ETH, UNIT // 4 - UNIT),
    Amount(WETH, UNIT + UNIT // 2 - UNIT // 4),
    Amount(REMOVE.share, -REMOVE.shares),
    Amount(USDC, 10**9 - 8 * 10**8),
    Amount(ADD.share, ADD.shares),
)


def mixed() -> Plan:
    """Wraps, leaves a pool, swaps, enters another, unwraps."""
    return replace(plan_of(net=NET), legs=LEGS)


def word(address: str) -> str:
    return "0x" + address[2:].lower().rjust(64, "0")


def log(contract: str, signature: str, *who: str, words: tuple[int, ...] = ()) -> dict[str, Any]:
    data = to_hex(encode(["uint256"] * len(words), words))
    topics = [signature, *map(word, who)]
    return {"address": contract.lower(), "topics": topics, "data": data}


def moved(token: str, sender: str, to: str, raw: int) -> dict[str, Any]:
    return log(token, TRANSFER, sender, to, words=(raw,))


def mixed_logs(executor: str, wallet: str = WALLET) -> list[dict[str, Any]]:
    """What official contracts say when the plan is carried out to the unit."""
    weth, usdc, dai = WETH.address, USDC.address, DAI.address
    delegated = executor == wallet
    logs = [log(weth, DEPOSIT, executor, words=(UNIT,))]
    logs += [] if delegated else [moved(weth, executor, wallet, UNIT)]
    logs += [
        moved(USDC_WETH, wallet, USDC_WETH, REMOVE.shares),
        moved(USDC_WETH, NOBODY, wallet, 0),
        moved(USDC_WETH, USDC_WETH, NOBODY, REMOVE.shares),
        moved(usdc, USDC_WETH, wallet, REMOVE.amount0),
        moved(weth, USDC_WETH, wallet, REMOVE.amount1),
        log(USDC_WETH, BURN, executor, wallet, words=(REMOVE.amount0, REMOVE.amount1)),
        moved(usdc, wallet, DAI_USDC, SWAP_LEG.amount_in),
        moved(dai, DAI_USDC, wallet, SWAP_LEG.amount_out),
        log(
            DAI_USDC,
            SWAP,
            executor,
            wallet,
            words=(0, SWAP_LEG.amount_in, SWAP_LEG.amount_out, 0),
        ),
        moved(dai, wallet, DAI_USDC, ADD.amount0),
        moved(usdc, wallet, DAI_USDC, ADD.amount1),
        moved(DAI_USDC, NOBODY, "0x" + "fe" * 20, 77),  # the protocol's own share
        moved(DAI_USDC, NOBODY, wallet, ADD.shares),
        log(DAI_USDC, MINT, executor, words=(ADD.amount0, ADD.amount1)),
    ]
    logs += [] if delegated else [moved(weth, wallet, executor, UNWRAP.amount)]
    return [*logs, log(weth, WITHDRAWAL, executor, words=(UNWRAP.amount,))]
