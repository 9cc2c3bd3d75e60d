"""How good samples are: one measure a file, each found by its registered name.

``base`` has the contract: a :class:`~studio.core.metrics.base.Metric` takes
:class:`~studio.core.metrics.base.Evidence` (items and what a feature network says of them) and a
:class:`~studio.core.metrics.base.Reference` (the real items), and gives named numbers. The floor of every number is the
same measure of real items.
"""
