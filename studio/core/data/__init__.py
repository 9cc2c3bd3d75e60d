"""Data sets: what a model learns from, whole in memory.

``base`` holds the nouns: a ``Dataset`` (arrays and what to say about them), a ``DatasetSpec`` (the knobs that name one,
registered under the kind ``dataset``) and ``Batches`` (step number -> batch, a pure function, so that a training can
resume anywhere). ``images`` reads MNIST, which ships, and Fashion-MNIST where it is found; ``points`` makes 1-D and 2-D
sets from formulas, with exact mixtures where a closed-form denoiser can be compared. Images are uint8 (N, C, H, W) and
reach the model as float32 in [-1, 1]; points are float32 (N, D) of zero mean and unit variance. A new data set is one
spec under ``@register("dataset", name)``. Nothing here loads torch until a batch is made.
"""
