"""Ethereum itself: JSON-RPC and ABI coding; knows nothing of portfolios.

Below the readers, the bundler, the ledger and the devchain, so that those need not know each other.
Import from the modules: this file stays empty so that the command line starts fast.
"""
