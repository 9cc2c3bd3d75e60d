"""Choosing the device and its precision; the branches for GPUs run here on the CPU."""

from __future__ import annotations

import contextlib

import pytest
import torch

from studio.core import device


def test_auto_prefers_cuda_then_mps_then_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"cuda": False, "mps": False}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there["cuda"])
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: there["mps"])
    assert device.choose("auto").type == "cpu"
    there["mps"] = True
    assert device.choose("auto").type == "mps"
    there["cuda"] = True
    assert device.choose("auto").type == "cuda"
    assert device.choose("cpu").type == "cpu"


def test_a_device_that_is_not_there_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match="'cuda' is not possible: this machine has cpu"):
        device.choose("cuda")


def test_the_device_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert device.describe(torch.device("cpu")) == "CPU · 1 thread"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert device.describe(torch.device("cpu")) == "CPU · 4 threads"
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Some GPU")
    assert device.describe(torch.device("cuda")) == "Some GPU"


def test_mixed_precision_only_where_it_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(torch, "autocast", lambda *args: asked.append(args) or contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    with device.autocast(torch.device("cpu")), device.autocast(torch.device("mps")):
        assert asked == []
    with device.autocast(torch.device("cuda")):
        assert asked == [("cuda", torch.bfloat16)]
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    with device.autocast(torch.device("cuda")):
        assert len(asked) == 1
