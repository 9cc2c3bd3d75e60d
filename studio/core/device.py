"""Which device computes: CUDA, Apple's MPS or the CPU, chosen once, and in what precision."""

from __future__ import annotations

import contextlib
from typing import Literal

import psutil
import torch

DeviceName = Literal["auto", "cpu", "cuda", "mps"]


def choose(name: DeviceName = "auto") -> torch.device:
    """The best device at hand, or the one asked for. Raises ValueError where it is not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, usable in there.items() if usable))
    if not there[name]:
        raise ValueError(
            f"device = {name!r} is not possible: this machine has {', '.join(k for k in there if there[k])}."
        )
    return torch.device(name)


def describe(device: torch.device) -> str:
    """The device in words, for the top bar: "CPU · 2 threads"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return "Apple GPU"
    threads = torch.get_num_threads()
    return f"CPU · {threads} thread{'' if threads == 1 else 's'}"


def autocast(device: torch.device) -> contextlib.AbstractContextManager:
    """bfloat16 where it is fast (CUDA with bf16 units); plain float32 elsewhere, where it would be slower."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", torch.bfloat16)
    return contextlib.nullcontext()


def memory_in_use(device: torch.device) -> int:
    """Bytes: the most that tensors took on a GPU since :func:`forget_peak`; this process's memory now on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    return psutil.Process().memory_info().rss


def forget_peak(device: torch.device) -> None:
    """Begin a new measurement of :func:`memory_in_use`."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
