"""Keeps an on-chain portfolio at its target weights; see docs/architecture.md for the rooms."""

__version__ = "0.1.0"
