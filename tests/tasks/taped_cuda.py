"""What stands for CUDA's graphs where there is no GPU: a tape of torch's operations.

A replay runs the operations that were recorded, on the tensors that were there, and no Python of
the model's: what the step did not read from a tensor stays as it was recorded, as in a CUDA graph.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tasks.engines import graphs

THEIRS = inspect.signature(torch.cuda.graph)

WAITS_FOR_THE_HOST = ("_local_scalar_dense", "nonzero", "is_nonzero", "lift_fresh", "equal")
"""Reading a value, and making a tensor of one: a capture that meets them fails."""


class Tape(TorchDispatchMode):
    """A CUDAGraph: `calls` are the operations, each with its arguments and what came of it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in WAITS_FOR_THE_HOST:
            raise RuntimeError(f"{func} is not permitted when\nstream is capturing")
        made = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, made))
        return made

    def replay(self) -> None:
        for func, args, kwargs, made in self.calls:
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(made), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and memory(old) != memory(new):
                    old.copy_(new)


def memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


class Stream:
    def wait_stream(self, other: Stream) -> None:
        assert other is not self


class TapedCuda:
    """`tapes` are those made so far, `stream` is the current one."""

    def __init__(self) -> None:
        self.tapes: list[Tape] = []
        self.stream = Stream()

    @contextmanager
    def use(self, stream: Stream) -> Iterator[None]:
        before, self.stream = self.stream, stream
        try:
            yield
        finally:
            self.stream = before

    @contextmanager
    def graph(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        """Like torch's, it does not return to the stream before when a recording fails."""
        asked = THEIRS.bind(*args, **kwargs).arguments
        before, self.stream = self.stream, asked["stream"]
        self.tapes.append(asked["cuda_graph"])
        with self.tapes[-1]:
            yield
        self.stream = before


def tape_cuda(monkeypatch: pytest.MonkeyPatch) -> TapedCuda:
    """Have torch.cuda record tapes from now on."""
    cuda = TapedCuda()
    for name, stand_in in (
        ("CUDAGraph", Tape),
        ("Stream", Stream),
        ("stream", cuda.use),
        ("current_stream", lambda: cuda.stream),
        ("graph", cuda.graph),
    ):
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(graphs, "_aside", graphs._aside.__wrapped__)
    return cuda
