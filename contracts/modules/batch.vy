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
        `execute` takes any batch. `route` takes the commonest one, a
        single swap over one to three pairs, and does the same with it
        for less gas. Both take words instead of named structs, which
        would cost twice as much around the calls. What each bit means
        is said below; `docs/executor.md` has the same as tables, with
        the trust model.
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


# @dev We import what is used of pairs, of wrapped ether, and of tokens
# whose payment a pair will count.
from ..interfaces import ICountedToken
from ..interfaces import IUniswapV2Pair
from ..interfaces import IWrappedEther


# @dev One entry of a batch.
#
# `batch[.. S-1]`, the operands, to which steps refer by their index;
# the W watched tokens come first:
#   what     bits 0-159   the token
#   amounts  bits 0-127   at least so much must be gained, or
#            bits 128-255 at most so much may be lost, by the whole batch
#   then tokens that are paid with and not watched, without amounts, and
#   what ADD, REMOVE and PERMIT need besides, described where it is read
#
# `batch[S ..]`, the steps:
#   what     bits 0-159   the pair, the wrapped ether, or the token
#            bits 160-183 SWAP: what the fee leaves of a million;
#                         others: the index of their operand
#            bits 184-191 the index of the token that is paid
#            bits 192-199 the flags below
#            bits 200-    the kind of the step, below
#   amounts  bits 0-127   SWAP: what is paid
#            bits 128-255 SWAP: the least that must come of it
#            other kinds are described where they are done
struct Entry:
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


# @dev A step below this bit is a swap of a given amount, or of what was
# forwarded: one comparison lets it pass by all the rest.
PLAIN: constant(uint256) = 194


# @dev The most entries of a batch, and the most tokens to watch.
MAX_ENTRIES: constant(uint256) = 50
MAX_WATCHED: constant(uint256) = 16


# @dev Fees are in parts per million.
PPM: constant(uint256) = 1_000_000


# @dev The calldata of `execute`: the selector and three words (terms, and
# the array's place and length), then two words for each entry.
BEFORE_ENTRIES: constant(uint256) = 100
ENTRY_SIZE: constant(uint256) = 64


# @dev Where the callback data of `swap` begin in its arguments, which
# always have four words before them.
DATA_AT: constant(uint256) = 128


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
def execute(terms: uint256, batch: DynArray[Entry, MAX_ENTRIES]) -> uint256:
    """
    @dev Does the steps in order, or reverts as a whole.
    @notice A watched token's balance is read before the first step and
            compared after the last one. This holds whatever pairs and
            tokens do, also against tokens that take a fee on their way
            to the caller.
    @param terms Bits 0-63: the last `block.timestamp` to do it at.
           Bits 64-127: the highest `block.basefee` to do it at.
           Bits 128-135: W, how many tokens are watched.
           Bits 136-: S, the index of the first step.
    @param batch The operands and the steps, see `Entry`.
    @return uint256 What the last swap was paid, or zero.
    @custom:security `_admit` is the first line of whatever moves money:
                     as a wallet's code it must refuse everybody else.
    """
    self._admit(terms & LOW_64, terms >> 64 & LOW_64)
    # What is cut off would read as zero, and what is too much not at all.
    assert len(msg.data) == unsafe_add(
        BEFORE_ENTRIES, unsafe_mul(ENTRY_SIZE, len(batch))
    ), "executor: calldata of another length"
    watched: uint256 = terms >> 128 & LOW_8
    first: uint256 = terms >> 136
    if msg.value != empty(uint256):
        assert batch[first].what >> 200 == WRAP, "executor: ether is not wrapped"

    before: uint256[MAX_WATCHED] = empty(uint256[MAX_WATCHED])
    for i: uint256 in range(watched, bound=MAX_WATCHED):
        before[i] = staticcall IERC20(
            convert(batch[i].what & LOW_160, address)
        ).balanceOf(msg.sender)

    # What the last swap was paid or, forwarded, what the next one sells.
    amount: uint256 = empty(uint256)
    forwarded: uint256 = empty(uint256)
    for at: uint256 in range(first, len(batch), bound=MAX_ENTRIES):
        step: Entry = batch[at]
        target: address = convert(step.what & LOW_160, address)

        if step.what >> PLAIN == empty(uint256):
            if forwarded == empty(uint256):
                amount = step.amounts & LOW_128
                token: address = convert(
                    batch[step.what >> 184 & LOW_8].what & LOW_160, address
                )
                # The pair counts what arrives: no answer has to be read.
                if AS_WALLET:
                    extcall ICountedToken(token).transfer(
                        target, amount, skip_contract_check=True
                    )
                else:
                    extcall ICountedToken(token).transferFrom(
                        msg.sender, target, amount, skip_contract_check=True
                    )

        elif step.what >> 200 == SWAP:
            index: uint256 = step.what >> 184 & LOW_8
            if forwarded == empty(uint256):
                amount = step.amounts & LOW_128
                if step.what & GAINED != empty(uint256):
                    amount = self._balance(batch[index].what) - before[index]
                self._pay(batch[index].what, target, amount)
            if step.what & MEASURED != empty(uint256):
                amount = self._arrived(batch[index].what, target, step.what)

        else:
            assert forwarded == empty(uint256), "executor: forwarded to no swap"
            kind: uint256 = step.what >> 200
            operand: Entry = empty(Entry)
            if kind == ADD or kind == REMOVE or kind == PERMIT:
                operand = batch[step.what >> 160 & LOW_24]

            if kind == CHECK:
                # The caller's balance of a token must be at least
                # `amounts`, all 256 bits of it.
                assert self._balance(step.what) >= step.amounts, "executor: balance below its floor"

            elif kind == ADD:
                # Bits 0-127 and 128-255 of `amounts` are the most of
                # token0 and token1. The operand has the index of token1
                # in `what` and the least shares in `amounts`.
                index: uint256 = step.what >> 184 & LOW_8
                most0: uint256 = step.amounts & LOW_128
                most1: uint256 = step.amounts >> 128
                if step.what & GAINED != empty(uint256):
                    most0 = self._balance(batch[index].what) - before[index]
                if step.what & GAINED_1 != empty(uint256):
                    most1 = self._balance(batch[operand.what].what) - before[operand.what]
                self._add(
                    target,
                    batch[index].what,
                    batch[operand.what].what,
                    most0,
                    most1,
                    operand.amounts,
                )

            elif kind == REMOVE:
                # `amounts` are the shares. The operand has the least of
                # token0 in `what`, and that of token1 in `amounts`.
                shares: uint256 = step.amounts
                if step.what & GAINED != empty(uint256):
                    shares = self._balance(step.what) - before[step.what >> 184 & LOW_8]
                self._remove(target, shares, operand.what, operand.amounts)

            elif kind == WRAP:
                # `amounts` is the ether.
                if not AS_WALLET:
                    # What waited here could be wrapped by somebody else.
                    assert at == first, "executor: wrapping comes first"
                    assert step.amounts == msg.value, "executor: ether is not wrapped"
                forwarded = step.what & FORWARD
                to: address = msg.sender
                if forwarded != empty(uint256):
                    to = convert(batch[unsafe_add(at, 1)].what & LOW_160, address)
                    amount = step.amounts
                self._wrap(target, to, step.amounts)

            elif kind == UNWRAP:
                # `amounts` is the wrapped ether.
                unwrapped: uint256 = step.amounts
                if step.what & GAINED != empty(uint256):
                    unwrapped = self._balance(step.what) - before[step.what >> 184 & LOW_8]
                self._unwrap(target, unwrapped)

            else:
                # `amounts` is the allowance. The operand is the
                # signature, `r` and `s`.
                assert kind == PERMIT, "executor: unknown step"
                v: uint256 = 27
                if step.what & ZERO_FOR_ONE != empty(uint256):
                    v = 28
                self._permit(target, step.amounts, terms & LOW_64, v, operand)

            continue

        # From here on as `_swap` does it, whose call would cost 110 gas
        # each time.
        forwarded = step.what & FORWARD
        to: address = msg.sender
        if forwarded != empty(uint256):
            to = convert(batch[unsafe_add(at, 1)].what & LOW_160, address)
        reserves: IUniswapV2Pair.Reserves = staticcall IUniswapV2Pair(target).getReserves()
        after_fee: uint256 = unsafe_mul(amount, step.what >> 160 & LOW_24)
        if step.what & ZERO_FOR_ONE != empty(uint256):
            amount = unsafe_div(
                unsafe_mul(after_fee, reserves.of_token1),
                unsafe_add(unsafe_mul(reserves.of_token0, PPM), after_fee),
            )
            assert amount >= step.amounts >> 128, "executor: amount out below minimum"
            raw_call(
                target,
                abi_encode(
                    empty(uint256),
                    amount,
                    to,
                    DATA_AT,
                    empty(uint256),
                    method_id=method_id("swap(uint256,uint256,address,bytes)"),
                ),
            )
        else:
            amount = unsafe_div(
                unsafe_mul(after_fee, reserves.of_token0),
                unsafe_add(unsafe_mul(reserves.of_token1, PPM), after_fee),
            )
            assert amount >= step.amounts >> 128, "executor: amount out below minimum"
            raw_call(
                target,
                abi_encode(
                    amount,
                    empty(uint256),
                    to,
                    DATA_AT,
                    empty(uint256),
                    method_id=method_id("swap(uint256,uint256,address,bytes)"),
                ),
            )

    for i: uint256 in range(watched, bound=MAX_WATCHED):
        token: Entry = batch[i]
        after: uint256 = staticcall IERC20(
            convert(token.what & LOW_160, address)
        ).balanceOf(msg.sender)
        # Only a token that lies about its balances could make these sums
        # wrap around, and it can lie without that.
        assert unsafe_add(after, token.amounts >> 128) >= unsafe_add(
            before[i], token.amounts & LOW_128
        ), "executor: net change below its floor"

    return amount


@external
def route(
    sold: uint256,
    bought: uint256,
    hop1: uint256,
    amounts: uint256,
    hop2: uint256 = empty(uint256),
    leasts: uint256 = empty(uint256),
    hop3: uint256 = empty(uint256),
) -> uint256:
    """
    @dev One swap over one to three pairs, each of which pays the next.
    @notice What `execute` does with a batch of these swaps that watches
            the bought token, for about 2,100 gas less: fixed arguments
            are read where they are, and there is nothing to loop over.
            The bought token's balance must grow by the least amount of
            the last pair.
    @param sold Bits 0-159: the token that is sold. Bits 160-: the last
           `block.timestamp` to do it at.
    @param bought Bits 0-159: the token that the last pair pays. Bits
           160-: the highest `block.basefee` to do it at.
    @param hop1 The first pair, with bits 0-183 and `ZERO_FOR_ONE` as in
           a step of a batch; other bits mean nothing here.
    @param amounts Bits 0-127: what is sold. Bits 128-255: the least that
           must come of the first pair.
    @param hop2 The second pair, or zero.
    @param leasts Bits 0-127 and 128-255: the least that must come of the
           second and of the third pair.
    @param hop3 The third pair, or zero.
    @return uint256 What the last pair paid.
    @custom:security `_admit` is the first line here, too.
    """
    self._admit(sold >> 160, bought >> 160)
    token: address = convert(bought & LOW_160, address)
    before: uint256 = staticcall IERC20(token).balanceOf(msg.sender)

    pair1: address = convert(hop1 & LOW_160, address)
    amount: uint256 = amounts & LOW_128
    if AS_WALLET:
        extcall ICountedToken(convert(sold & LOW_160, address)).transfer(
            pair1, amount, skip_contract_check=True
        )
    else:
        extcall ICountedToken(convert(sold & LOW_160, address)).transferFrom(
            msg.sender, pair1, amount, skip_contract_check=True
        )

    least: uint256 = amounts >> 128
    if hop2 == empty(uint256):
        amount = self._swap(pair1, hop1, amount, least, msg.sender)
    else:
        pair2: address = convert(hop2 & LOW_160, address)
        amount = self._swap(pair1, hop1, amount, least, pair2)
        least = leasts & LOW_128
        if hop3 == empty(uint256):
            amount = self._swap(pair2, hop2, amount, least, msg.sender)
        else:
            pair3: address = convert(hop3 & LOW_160, address)
            amount = self._swap(pair2, hop2, amount, least, pair3)
            least = leasts >> 128
            amount = self._swap(pair3, hop3, amount, least, msg.sender)

    # As in `execute`, a sum that only a lie could wrap around.
    assert staticcall IERC20(token).balanceOf(msg.sender) >= unsafe_add(
        before, least
    ), "executor: net change below its floor"
    return amount


@internal
@view
def _admit(deadline: uint256, max_base_fee: uint256):
    """
    @dev Whether this caller may trade, and now.
    @param deadline The last `block.timestamp` to do it at.
    @param max_base_fee The highest `block.basefee` to do it at.
    @custom:security Whoever gets past the first line trades with the
                     wallet's money.
    """
    if AS_WALLET:
        assert msg.sender == self, "executor: caller is not the wallet"
    assert block.timestamp <= deadline, "executor: deadline has passed"
    assert block.basefee <= max_base_fee, "executor: base fee is too high"


@internal
def _swap(pair: address, what: uint256, amount_in: uint256, least: uint256, to: address) -> uint256:
    """
    @dev Asks a pair for the most that it can pay for what has come in.
    @notice `out = x k R_out / (R_in 10^6 + x k)`, rounded down, with `k`
            of a million left by the fee. The quote comes after the
            payment, so that a token which calls back while it is paid
            cannot move the price between the two.
            A genuine pair's reserves are below 2 ** 112, and it refuses
            to book more, so that nothing which it would accept reaches
            2 ** 248. What a hostile pair's answers would wrap around to
            is no worse than any other lie of it.
    @param pair The pair; it answers `getReserves`, so it is a contract.
    @param what The word `what` of the step: the direction and the fee.
    @param amount_in What has been paid to the pair.
    @param least The least amount to accept.
    @param to The address that is paid.
    @return uint256 The amount that was asked for and is paid.
    """
    amount: uint256 = empty(uint256)
    reserves: IUniswapV2Pair.Reserves = staticcall IUniswapV2Pair(pair).getReserves()
    after_fee: uint256 = unsafe_mul(amount_in, what >> 160 & LOW_24)
    if what & ZERO_FOR_ONE != empty(uint256):
        amount = unsafe_div(
            unsafe_mul(after_fee, reserves.of_token1),
            unsafe_add(unsafe_mul(reserves.of_token0, PPM), after_fee),
        )
        assert amount >= least, "executor: amount out below minimum"
        raw_call(
            pair,
            abi_encode(
                empty(uint256),
                amount,
                to,
                DATA_AT,
                empty(uint256),
                method_id=method_id("swap(uint256,uint256,address,bytes)"),
            ),
        )
    else:
        amount = unsafe_div(
            unsafe_mul(after_fee, reserves.of_token0),
            unsafe_add(unsafe_mul(reserves.of_token1, PPM), after_fee),
        )
        assert amount >= least, "executor: amount out below minimum"
        raw_call(
            pair,
            abi_encode(
                amount,
                empty(uint256),
                to,
                DATA_AT,
                empty(uint256),
                method_id=method_id("swap(uint256,uint256,address,bytes)"),
            ),
        )
    return amount


@internal
@view
def _arrived(token: uint256, pair: address, what: uint256) -> uint256:
    """
    @dev What a pair holds of the token that it is sold, and has not
         booked.
    @param token The token's address in the low 160 bits.
    @param pair The pair.
    @param what The word `what` of the step, for the direction.
    @return uint256 The amount.
    """
    reserves: IUniswapV2Pair.Reserves = staticcall IUniswapV2Pair(pair).getReserves()
    booked: uint256 = reserves.of_token1
    if what & ZERO_FOR_ONE != empty(uint256):
        booked = reserves.of_token0
    return staticcall IERC20(convert(token & LOW_160, address)).balanceOf(pair) - booked


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
    reserves: IUniswapV2Pair.Reserves = staticcall IUniswapV2Pair(pair).getReserves()
    reserve0: uint256 = reserves.of_token0
    reserve1: uint256 = reserves.of_token1
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
def _permit(token: address, amount: uint256, deadline: uint256, v: uint256, signature: Entry):
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
