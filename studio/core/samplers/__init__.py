"""Samplers: ways to walk a descending list of levels from noise to data.

One family a file. ``base`` has the contract: a sampler is a generator that yields a :class:`~base.Step` at every level
it visits, so a caller can watch, stop or record between any two. ``ancestral`` is DDPM's, ``ddim`` is DDIM's.
"""
