"""The plan that provably costs least: whether, how far, what and through which pools, as one.

``statement`` says the problem in exact integers, ``graph`` lays it out as arrays of floats,
``dual`` minimises the dual of its relaxation, ``branch`` adds gas by branch and bound, ``integers``
makes legs of the answer that can be executed and are exact to the wei, and ``certificate`` writes
down how far from the best plan the found one can be, which ``verify`` recomputes without any of
the others. The only room where a float is allowed; nothing of it reaches a plan unreplayed. NumPy
and Numba are imported by the modules that need them, so import from those: this package exports
nothing. docs/optimal.md has the mathematics.
"""
