"""The ten accounts that every Anvil knows; their keys are public and protect nothing."""

from __future__ import annotations

from functools import cache

#: The test mnemonic of Anvil, Hardhat and Ganache. Money sent to its accounts is taken at once.
PUBLIC_MNEMONIC = "test test test test test test test test test test test junk"

DEV_ACCOUNTS = (
    "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
    "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
    "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
    "0x90F79bf6EB2c4f870365E785982E1f101E93b906",
    "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65",
    "0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc",
    "0x976EA74026E726554dB657fA54763abd0C3a0aa9",
    "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955",
    "0x23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f",
    "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720",
)
#: The wallet whose portfolio is kept; the account that moves pools to the oracle; and the one that
#: owns nearly all of the liquidity.
TREASURY, ARBITRAGEUR, MARKET_MAKER = DEV_ACCOUNTS[0], DEV_ACCOUNTS[8], DEV_ACCOUNTS[9]


@cache
def dev_key(address: str) -> str | None:
    """Private key (0x, 64 hex digits) of a well-known account; None for any other address.

    For signing on a chain of this machine only: the caller makes sure that it is one.
    """
    matches = [i for i, known in enumerate(DEV_ACCOUNTS) if known.lower() == address.lower()]
    if not matches:
        return None
    from eth_account.hdaccount import seed_from_mnemonic
    from eth_account.hdaccount.deterministic import HDPath

    seed = seed_from_mnemonic(PUBLIC_MNEMONIC, passphrase="")
    return "0x" + HDPath(f"m/44'/60'/0'/0/{matches[0]}").derive(seed).hex()
