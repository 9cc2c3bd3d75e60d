"""The model core: noise levels, denoisers, samplers, recipes and the trainer.

One equation governs everything: ``x = alpha * x0 + sigma * eps``. A noise *level* is the pair (alpha, sigma). A
*denoiser* maps (x, level) to a prediction of x0 and eps. A *sampler* walks a descending list of levels. A *recipe* is
one way to train. Time exists only inside schedules.

Importing this package loads neither torch nor Qt; its modules load torch when they need it.
"""
