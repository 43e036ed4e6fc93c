# pragma version 0.4.3
"""
@title A batch of steps on constant-product pairs: all of them, or none
@custom:contract-name batch
@license MIT
@author rebalancer
@notice Swaps, adds and removes liquidity, wraps and unwraps, for the
        caller alone, in one call. Two contracts are made of it, which
        differ in whose balance pays:
        - `Executor` takes the tokens of `msg.sender` by the allowance
          that he gave it. It serves everybody, each with his own.
        - `WalletExecutor` is what a wallet delegates to (EIP-7702). The
          code runs as the wallet, pays from its own balance, and obeys
          the wallet alone.
        A batch is a list of pairs of words: named structs would cost
        twice as much around the calls. What each bit means is said
        below; `docs/executor.md` has the same as tables, with the trust
        model.
@custom:security There is no owner, no storage and no lock. Nothing is
                 held from one call to the next, and no token or ether
                 of the caller waits in this contract while a foreign
                 contract runs: swaps pay from pair to pair or to the
                 caller, ether that is sent along is wrapped by the
                 first step, and an unwrapped amount is passed on by
                 the step that unwraps it. So a reentrant call finds
                 nothing, and only ever spends what is its own caller's.
                 Pairs and tokens are the caller's choice and are not
                 vetted: one who names a hostile pair risks what that
                 step pays, unless he watches a balance that then fails
                 to grow.
"""


# @dev We import the `IERC20` interface, which is a built-in interface
# of the Vyper compiler.
from ethereum.ercs import IERC20


# @dev We import what is used of pairs and of wrapped ether.
from ..interfaces import IUniswapV2Pair
from ..interfaces import IWrappedEther


# @dev One entry of a batch.
#
# `batch[0]`, the terms:
#   what     bits 0-63    the last `block.timestamp` to do it at
#            bits 64-71   W, how many tokens are watched
#            bits 72-     S, the index of the first step
#   amounts               the highest `block.basefee` to do it at
#
# `batch[1 .. S-1]`, the tokens, the W watched ones first:
#   what     bits 0-159   the token
#   amounts  bits 0-127   at least so much must be gained, or
#            bits 128-255 at most so much may be lost, by the whole batch
#
# `batch[S ..]`, the steps:
#   what     bits 0-159   the pair, the wrapped ether, or the token
#            bits 160-183 SWAP: what the fee leaves of a million
#            bits 184-191 the index in `batch` of the token that is paid
#            bits 192-199 the flags below
#            bits 200-    the kind of the step, below
#   amounts  bits 0-127   SWAP: what is paid
#            bits 128-255 SWAP: the least that must come of it
#            other kinds are described where they are done; ADD, REMOVE
#            and PERMIT take a second entry.
struct Step:
    what: uint256
    amounts: uint256


# @dev The kinds of steps.
SWAP: constant(uint256) = 0
CHECK: constant(uint256) = 1
ADD: constant(uint256) = 2
REMOVE: constant(uint256) = 3
WRAP: constant(uint256) = 4
UNWRAP: constant(uint256) = 5
PERMIT: constant(uint256) = 6


# @dev SWAP: what is sold is the pair's `token0`. PERMIT: the signature's
# `v` is 28, not 27.
ZERO_FOR_ONE: constant(uint256) = 1 << 192


# @dev SWAP, WRAP: pay into the pair of the next step, a swap, which
# spends exactly that.
FORWARD: constant(uint256) = 1 << 193


# @dev SWAP: sell what has arrived in the pair, not what was sent (for
# tokens that take a fee on transfers).
MEASURED: constant(uint256) = 1 << 194


# @dev Pay what the batch has brought of the token so far, which must be
# a watched one, instead of a given amount; `GAINED_1` is for the second
# token of ADD.
GAINED: constant(uint256) = 1 << 195
GAINED_1: constant(uint256) = 1 << 196


# @dev The most entries of a batch, and the most tokens to watch.
MAX_ENTRIES: constant(uint256) = 50
MAX_WATCHED: constant(uint256) = 16


# @dev Fees are in parts per million.
PPM: constant(uint256) = 1_000_000


# @dev Masks of the fields.
LOW_8: constant(uint256) = 2 ** 8 - 1
LOW_24: constant(uint256) = 2 ** 24 - 1
LOW_64: constant(uint256) = 2 ** 64 - 1
LOW_128: constant(uint256) = 2 ** 128 - 1
LOW_160: constant(uint256) = 2 ** 160 - 1


# @dev Whether this code runs as the wallet that it trades for.
AS_WALLET: immutable(bool)


# @dev The contract that may send ether at this moment; empty outside
# of UNWRAP. Transient, so that it is empty again after a transaction.
ether_from: transient(address)


@deploy
@payable
def __init__(as_wallet: bool):
    """
    @dev Fixes whose balance pays.
    @param as_wallet Whether the code will run as the wallet itself.
    """
    AS_WALLET = as_wallet


@external
@payable
def execute(batch: DynArray[Step, MAX_ENTRIES]) -> uint256:
    """
    @dev Does the steps in order, or reverts as a whole.
    @notice A watched token's balance is read before the first step and
            compared after the last one. This holds whatever pairs and
            tokens do, also against tokens that take a fee on their way
            to the caller.
    @param batch The terms, the tokens and the steps, see `Step`.
    @return uint256 What the last swap was paid, or zero.
    @custom:security As a wallet's code it must refuse everybody else:
                     whoever gets past the first line trades with the
                     wallet's money.
    """
    if AS_WALLET:
        assert msg.sender == self, "executor: caller is not the wallet"

    terms: Step = batch[0]
    assert block.timestamp <= terms.what & LOW_64, "executor: deadline has passed"
    assert block.basefee <= terms.amounts, "executor: base fee is too high"
    watched: uint256 = terms.what >> 64 & LOW_8
    first: uint256 = terms.what >> 72
    if msg.value != empty(uint256):
        assert batch[first].what >> 200 == WRAP, "executor: ether is not wrapped"

    before: uint256[MAX_WATCHED] = empty(uint256[MAX_WATCHED])
    for i: uint256 in range(watched, bound=MAX_WATCHED):
        before[i] = staticcall IERC20(
            convert(batch[unsafe_add(i, 1)].what & LOW_160, address)
        ).balanceOf(msg.sender)

    amount_out: uint256 = empty(uint256)
    forwarded: bool = False
    at: uint256 = first
    for _: uint256 in range(MAX_ENTRIES):
        step: Step = batch[at]
        at = unsafe_add(at, 1)
        kind: uint256 = step.what >> 200

        if kind == SWAP:
            pair: address = convert(step.what & LOW_160, address)
            amount_in: uint256 = amount_out
            if not forwarded:
                index: uint256 = step.what >> 184 & LOW_8
                token: address = convert(batch[index].what & LOW_160, address)
                amount_in = step.amounts & LOW_128
                if step.what & GAINED != empty(uint256):
                    amount_in = self._balance(convert(token, uint256)) - before[index - 1]
                # As `_pay` does it, whose call would cost 67 gas a swap.
                if AS_WALLET:
                    assert extcall IERC20(token).transfer(
                        pair, amount_in, default_return_value=True
                    ), "executor: transfer failed"
                else:
                    assert extcall IERC20(token).transferFrom(
                        msg.sender, pair, amount_in, default_return_value=True
                    ), "executor: transfer failed"

            # The quote comes after the payment, so that a token which
            # calls back while it is pulled cannot move the price
            # between the two.
            reserve_in: uint256 = empty(uint256)
            reserve_out: uint256 = empty(uint256)
            if step.what & ZERO_FOR_ONE != empty(uint256):
                reserve_in, reserve_out = staticcall IUniswapV2Pair(pair).getReserves()
            else:
                reserve_out, reserve_in = staticcall IUniswapV2Pair(pair).getReserves()
            if step.what & MEASURED != empty(uint256):
                sold: uint256 = batch[step.what >> 184 & LOW_8].what
                arrived: uint256 = staticcall IERC20(
                    convert(sold & LOW_160, address)
                ).balanceOf(pair)
                amount_in = arrived - reserve_in

            # `out = x k R_out / (R_in 10^6 + x k)`, rounded down, with
            # `k` of a million left by the fee. A genuine pair's reserves
            # are below 2 ** 112, and it refuses to book more, so that
            # nothing which it would accept reaches 2 ** 248. What a
            # hostile pair's answers would wrap around to is no worse
            # than any other lie of it.
            after_fee: uint256 = unsafe_mul(amount_in, step.what >> 160 & LOW_24)
            amount_out = unsafe_div(
                unsafe_mul(after_fee, reserve_out),
                unsafe_add(unsafe_mul(reserve_in, PPM), after_fee),
            )
            assert amount_out >= step.amounts >> 128, "executor: amount out below minimum"

            to: address = msg.sender
            forwarded = step.what & FORWARD != empty(uint256)
            if forwarded:
                to = self._next(batch[at].what)
            # `getReserves` got an answer, so the pair is a contract.
            if step.what & ZERO_FOR_ONE != empty(uint256):
                extcall IUniswapV2Pair(pair).swap(
                    empty(uint256), amount_out, to, b"", skip_contract_check=True
                )
            else:
                extcall IUniswapV2Pair(pair).swap(
                    amount_out, empty(uint256), to, b"", skip_contract_check=True
                )

        elif kind == CHECK:
            # The caller's balance of a token must be at least `amounts`,
            # all 256 bits of it.
            assert self._balance(step.what) >= step.amounts, "executor: balance below its floor"

        elif kind == ADD:
            # Bits 0-127 and 128-255 of `amounts` are the most of token0
            # and token1. The next entry has the index of token1 in
            # `what` and the least shares in `amounts`.
            more: Step = batch[at]
            at = unsafe_add(at, 1)
            index: uint256 = step.what >> 184 & LOW_8
            most0: uint256 = step.amounts & LOW_128
            most1: uint256 = step.amounts >> 128
            if step.what & GAINED != empty(uint256):
                most0 = self._balance(batch[index].what) - before[index - 1]
            if step.what & GAINED_1 != empty(uint256):
                most1 = self._balance(batch[more.what].what) - before[more.what - 1]
            self._add(
                convert(step.what & LOW_160, address),
                batch[index].what,
                batch[more.what].what,
                most0,
                most1,
                more.amounts,
            )

        elif kind == REMOVE:
            # `amounts` are the shares. The next entry has the least of
            # token0 in `what`, and that of token1 in `amounts`.
            more: Step = batch[at]
            at = unsafe_add(at, 1)
            shares: uint256 = step.amounts
            if step.what & GAINED != empty(uint256):
                shares = self._balance(step.what) - before[(step.what >> 184 & LOW_8) - 1]
            self._remove(convert(step.what & LOW_160, address), shares, more.what, more.amounts)

        elif kind == WRAP:
            # `amounts` is the ether.
            if not AS_WALLET:
                # What waited here could be wrapped by somebody else.
                assert at == first + 1, "executor: wrapping comes first"
                assert step.amounts == msg.value, "executor: ether is not wrapped"
            to: address = msg.sender
            forwarded = step.what & FORWARD != empty(uint256)
            if forwarded:
                to = self._next(batch[at].what)
                amount_out = step.amounts
            self._wrap(convert(step.what & LOW_160, address), to, step.amounts)

        elif kind == UNWRAP:
            # `amounts` is the wrapped ether.
            amount: uint256 = step.amounts
            if step.what & GAINED != empty(uint256):
                amount = self._balance(step.what) - before[(step.what >> 184 & LOW_8) - 1]
            self._unwrap(convert(step.what & LOW_160, address), amount)

        else:
            # `amounts` is the allowance. The next entry is the
            # signature, `r` and `s`.
            assert kind == PERMIT, "executor: unknown step"
            more: Step = batch[at]
            at = unsafe_add(at, 1)
            v: uint256 = 27
            if step.what & ZERO_FOR_ONE != empty(uint256):
                v = 28
            self._permit(
                convert(step.what & LOW_160, address),
                step.amounts,
                terms.what & LOW_64,
                v,
                more,
            )

        if at >= len(batch):
            break

    for i: uint256 in range(watched, bound=MAX_WATCHED):
        token: Step = batch[unsafe_add(i, 1)]
        after: uint256 = staticcall IERC20(
            convert(token.what & LOW_160, address)
        ).balanceOf(msg.sender)
        # Only a token that lies about its balances could make these sums
        # wrap around, and it can lie without that.
        assert unsafe_add(after, token.amounts >> 128) >= unsafe_add(
            before[i], token.amounts & LOW_128
        ), "executor: net change below its floor"

    return amount_out


@internal
@view
def _balance(token: uint256) -> uint256:
    """
    @dev The caller's balance of a token.
    @param token The token's address in the low 160 bits.
    @return uint256 The balance.
    """
    return staticcall IERC20(convert(token & LOW_160, address)).balanceOf(msg.sender)


@internal
@pure
def _next(what: uint256) -> address:
    """
    @dev The pair of the step that a payment is forwarded to.
    @param what The word `what` of that step.
    @return address The pair.
    """
    assert what >> 200 == SWAP, "executor: forwarded to no swap"
    return convert(what & LOW_160, address)


@internal
def _pay(token: uint256, to: address, amount: uint256):
    """
    @dev Pays the caller's tokens.
    @notice No return data counts as success (USDT); no code does not.
    @param token The token's address in the low 160 bits.
    @param to The address that is paid.
    @param amount The amount.
    @custom:security The owner is always `msg.sender`: as a wallet's
                     code, the wallet itself.
    """
    if AS_WALLET:
        assert extcall IERC20(convert(token & LOW_160, address)).transfer(
            to, amount, default_return_value=True
        ), "executor: transfer failed"
    else:
        assert extcall IERC20(convert(token & LOW_160, address)).transferFrom(
            msg.sender, to, amount, default_return_value=True
        ), "executor: transfer failed"


@internal
def _add(
    pair: address,
    token0: uint256,
    token1: uint256,
    most0: uint256,
    most1: uint256,
    least_shares: uint256,
):
    """
    @dev Adds liquidity at the pair's ratio, and gives the shares to the
         caller.
    @notice Pays all of one token and as much of the other as the ratio
            asks for, rounded down; both whole to a pair that is empty.
    @param pair The pair.
    @param token0 Its `token0`.
    @param token1 Its `token1`.
    @param most0 The most of `token0` to add.
    @param most1 The most of `token1` to add.
    @param least_shares The least shares to accept.
    """
    reserve0: uint256 = empty(uint256)
    reserve1: uint256 = empty(uint256)
    reserve0, reserve1 = staticcall IUniswapV2Pair(pair).getReserves()
    amount0: uint256 = most0
    amount1: uint256 = most1
    if reserve0 != empty(uint256) and reserve1 != empty(uint256):
        amount1 = most0 * reserve1 // reserve0
        if amount1 > most1:
            amount1 = most1
            amount0 = most1 * reserve0 // reserve1
    self._pay(token0, pair, amount0)
    self._pay(token1, pair, amount1)
    shares: uint256 = extcall IUniswapV2Pair(pair).mint(msg.sender)
    assert shares >= least_shares, "executor: shares below minimum"


@internal
def _remove(pair: address, shares: uint256, least0: uint256, least1: uint256):
    """
    @dev Redeems shares of a pair for the caller.
    @param pair The pair, which is the token of its shares.
    @param shares The shares to redeem.
    @param least0 The least of `token0` to accept.
    @param least1 The least of `token1` to accept.
    """
    self._pay(convert(pair, uint256), pair, shares)
    amount0: uint256 = empty(uint256)
    amount1: uint256 = empty(uint256)
    amount0, amount1 = extcall IUniswapV2Pair(pair).burn(msg.sender)
    assert amount0 >= least0 and amount1 >= least1, "executor: redeemed below minimum"


@internal
def _wrap(wrapped: address, to: address, amount: uint256):
    """
    @dev Wraps ether, and pays the wrapped ether to `to`.
    @param wrapped The wrapped ether's contract.
    @param to The address that is paid.
    @param amount The amount.
    """
    extcall IWrappedEther(wrapped).deposit(value=amount)
    if to != self:
        assert extcall IERC20(wrapped).transfer(
            to, amount, default_return_value=True
        ), "executor: transfer failed"


@internal
def _unwrap(wrapped: address, amount: uint256):
    """
    @dev Unwraps the caller's wrapped ether, and gives him the ether.
    @param wrapped The wrapped ether's contract.
    @param amount The amount.
    @custom:security Passes on no more than what has just come in: a
                     contract that pretends to be wrapped ether has
                     nothing to gain.
    """
    if AS_WALLET:
        extcall IWrappedEther(wrapped).withdraw(amount)
    else:
        self._pay(convert(wrapped, uint256), self, amount)
        held: uint256 = self.balance
        self.ether_from = wrapped
        extcall IWrappedEther(wrapped).withdraw(amount)
        self.ether_from = empty(address)
        assert self.balance == held + amount, "executor: ether did not arrive"
        raw_call(msg.sender, b"", value=amount)


@internal
def _permit(token: address, amount: uint256, deadline: uint256, v: uint256, signature: Step):
    """
    @dev Presents the caller's EIP-2612 permit for an allowance of this
         contract.
    @notice A refusal is no failure: anybody may have presented the
            permit before us, and then the allowance is there. If it is
            not, the payment fails.
    @param token The token.
    @param amount The allowance.
    @param deadline The permit's deadline, which is the batch's.
    @param v The signature's `v`.
    @param signature The signature's `r` and `s`.
    """
    success: bool = raw_call(
        token,
        abi_encode(
            msg.sender,
            self,
            amount,
            deadline,
            v,
            signature,
            method_id=method_id("permit(address,address,uint256,uint256,uint8,bytes32,bytes32)"),
        ),
        revert_on_failure=False,
    )


@internal
@view
def _check_ether():
    """
    @dev Refuses ether, except from the contract that is being unwrapped.
    """
    assert msg.sender == self.ether_from, "executor: ether refused"
