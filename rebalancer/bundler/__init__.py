"""Turns a plan into money moved: at most once, and only as it was simulated.

``prepare`` checks and simulates a plan, and signs what was simulated; ``submit`` stores the signed
bundle, sends it and awaits it; ``recover`` finds out what became of bundles that a crash left open;
``deploy`` puts the executor contract on a chain. What is stored when, and what is concluded from
what the chain shows, is written down in docs/bundler.md. Import from the modules: this file stays
empty so that the command line starts fast.
"""
