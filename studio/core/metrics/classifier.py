"""What a classifier says of samples: exp(E KL(p(y|x) || p(y))), p(y) = E p(y|x)  (arXiv 1606.03498, sec. 4).

The formula of the Inception score, here with the data's own classifier, which makes it a score of clear and evenly
spread classes, at most their number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from studio.core.metrics.base import Evidence, Metric, Quantity, Reference, Score
from studio.core.registry import register


@register("metric", "classifier")
@dataclass(frozen=True, kw_only=True)
class Classifier(Metric):
    """Classifier score, confidence, how often the class is the one asked for, and how evenly classes come.

    All samples are scored at once, not in ten splits as in the paper: splits only bias the score (arXiv 1801.01973).
    p(y) from N samples makes the score too low by a factor of about 1 - (K - 1) / (2 N), half a per cent for ten
    classes and 1,000 samples. The distance of class histograms is too high by about sqrt(K / (2 pi N)), 0.04 there.
    With fewer than ten samples a class (``fewest``, for ten classes) histograms say nothing.
    """

    title = "Classifier"
    kinds = ("image",)
    quantities = (
        Quantity(
            "classifier_score",
            "Classifier score",
            "higher",
            ".2f",
            "High where each sample is clearly of one class and all classes come; at most the number of classes.",
        ),
        Quantity("confidence", "Confidence", "higher", ".1%", "Mean probability of the class that is most likely."),
        Quantity(
            "accuracy", "Asked class", "higher", ".1%", "Share of samples that show the class that was asked for."
        ),
        Quantity(
            "class_distance",
            "Class distance",
            "lower",
            ".3f",
            "Total variation between the classes of samples and of test images: 0 equal, 1 disjoint.",
        ),
    )
    fewest = 100
    advised = 1_000

    def applies(self, reference: Reference) -> bool:
        return super().applies(reference) and reference.test.probabilities is not None

    def measure(self, samples: Evidence, reference: Reference) -> Mapping[str, Score]:
        assert samples.probabilities is not None
        confidence = samples.probabilities.max(1)
        found = {
            "classifier_score": classifier_score(samples.probabilities),
            "confidence": Score(float(confidence.mean()), _error(confidence)),
        }
        if samples.modes is None or reference.test.modes is None:
            return found
        if samples.labels is not None:
            right = (samples.modes == samples.labels).astype(np.float64)
            found["accuracy"] = Score(float(right.mean()), _error(right))
        ours, theirs = (class_histogram(each, reference.num_modes) for each in (samples, reference.test))
        return found | {"class_distance": Score(float(np.abs(ours - theirs).sum() / 2.0))}


def classifier_score(probabilities: np.ndarray) -> Score:
    """exp of the mean KL(p(y|x) || p(y)) of probabilities (N, K), with its standard error; in [1, K]."""
    mean = probabilities.mean(0)
    ratio = np.divide(probabilities, mean, out=np.ones_like(probabilities), where=probabilities > 0.0)
    divergence = (probabilities * np.log(ratio)).sum(1)
    score = math.exp(divergence.mean())
    return Score(score, score * _error(divergence))


def class_histogram(evidence: Evidence, num_modes: int) -> np.ndarray:
    """The share of each mode among the items, float64 (num_modes,), which sums to 1; the evidence knows its modes."""
    assert evidence.modes is not None
    return np.bincount(evidence.modes, minlength=num_modes) / len(evidence)


def _error(values: np.ndarray) -> float:
    """Standard error of the mean of independent values (N,)."""
    return float(values.std(ddof=1) / math.sqrt(len(values)))
