"""A chain to try everything on: an Anvil process and what is put on it.

``anvil`` runs the process; ``synthetic`` builds a mainnet of official Uniswap V2 bytecode from
nothing, ``state`` loads real mainnet blocks, ``fork`` hands out a second Anvil that forks either of
them or a real endpoint; ``market`` moves prices and arbitrages the pools. For the command line and
tests alone; no key here is worth anything. Import from the modules, so that web3 stays unloaded.
"""
