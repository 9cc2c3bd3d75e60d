"""Denoising Studio: train, watch, sample and look inside denoising diffusion models.

Three layers, each importing only those below it::

    app      the window: PySide6 and pyqtgraph live here and nowhere else
    session  threads between the window and the core: jobs, control, mailbox (no Qt)
    core     the models: torch and numpy (no Qt, no threads)

``studio.cli`` stands beside ``app`` and drives the same core without a window.
"""

import os

__version__ = "0.1.0"

# Threads of torch that wait for each other sleep instead of spinning. Spinning gains a little on an idle machine and
# loses many times over as soon as anything else, our own window included, wants one of two cores. torch reads it when
# it loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
