"""Networks: what maps (x, log-SNR, class) to a raw output of x's shape.

``base`` has the contract, ``layers`` the shared parts, ``unet`` the network for images and ``mlp`` the one for points.
A network is described by a frozen dataclass of knobs that builds the module.
"""
