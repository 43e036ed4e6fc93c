"""What the user types: one file per verb, thin; what they share is in ``session`` and ``output``.

A verb imports what it needs when it runs, so that ``rebalancer --help`` need not wait for web3.
"""
