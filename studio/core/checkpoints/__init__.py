"""Checkpoints: one ``.safetensors`` file a model, described by the JSON in its header.

``header`` reads and checks that description without torch, so the library fills at once; ``native`` writes the file and
rebuilds the model; ``resume`` keeps what an exact continuation needs. Nothing is ever unpickled.
"""
