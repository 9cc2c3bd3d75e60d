"""Feature networks: what looks at images so that samples can be measured, and the statistics of the real ones.

``base`` has the contract: a :class:`~base.FeatureNetwork` turns uint8 images into an
:class:`~studio.core.metrics.base.Evidence`. ``classifiers`` are the studio's own, small and trained on MNIST and
Fashion-MNIST; they ship. ``general`` looks at images of any other data: Inception where its weights are at hand, else
random features. ``references`` picks the network of a data set and keeps the features of its real images in a cache.
A network's title carries its version, so numbers of different networks are never taken for one another.
"""

from studio.core.features.base import FeatureNetwork
from studio.core.features.references import judge, network_for, prepare, reference_for

__all__ = ["FeatureNetwork", "judge", "network_for", "prepare", "reference_for"]
