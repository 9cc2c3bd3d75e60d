"""Recipes: ways to train, one a file.

``base`` has the contract: a recipe is a frozen dataclass of knobs; its *learner* holds networks and optimisers and
takes one step at a time. ``denoising`` is DDPM's regression and its relatives.
"""
