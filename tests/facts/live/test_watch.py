"""What watches a step: stale gradients are told from other optimizers' turns, kept graphs from bounded rings."""

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from dldoctor.facts.live import describe, watch  # noqa: E402  # they import torch


def stale(step: Callable[[Any, Any, Any, Any], None]) -> tuple[int, int]:
    """(steps, those from used gradients) of six rounds with two networks and an optimizer for each."""
    one, other = torch.nn.Linear(3, 1), torch.nn.Linear(3, 1)
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.1) for net in (one, other)]
    updates = watch.UpdateWatch()
    hooks = [optimizer.register_step_post_hook(lambda o, *_: updates.after_step(o)) for optimizer in optimizers]
    with watch.before_backward(updates):
        for _ in range(6):
            step(one, other, *optimizers)
    for hook in hooks:
        hook.remove()
    return updates.updates, updates.stale


def loss(*nets: Any) -> Any:
    return sum(net(torch.randn(4, 3)).square().mean() for net in nets)


def plain(one: Any, other: Any, first: Any, second: Any) -> None:
    first.zero_grad()
    loss(one).backward()
    first.step()


def after(one: Any, other: Any, first: Any, second: Any) -> None:
    loss(one).backward()
    first.step()
    first.zero_grad(set_to_none=False)


def adversaries(one: Any, other: Any, first: Any, second: Any) -> None:
    first.zero_grad()
    loss(one).backward()
    first.step()
    second.zero_grad()
    loss(one, other).backward()  # reaches the first one's parameters too
    second.step()


def accumulated(one: Any, other: Any, first: Any, second: Any) -> None:
    first.zero_grad()
    loss(one).backward()
    loss(one).backward()
    first.step()


def forgotten(one: Any, other: Any, first: Any, second: Any) -> None:
    loss(one).backward()
    first.step()


@pytest.mark.parametrize(
    ("step", "expected"),
    [(plain, (6, 0)), (after, (6, 0)), (adversaries, (12, 0)), (accumulated, (6, 0)), (forgotten, (6, 5))],
)
def test_stale_gradients_are_judged_at_the_same_optimizers_next_step(step: Any, expected: tuple[int, int]) -> None:
    assert stale(step) == expected


def test_a_ring_is_bounded_and_a_list_is_not() -> None:
    weight = torch.ones(3, requires_grad=True)
    graphs = watch.GraphWatch()
    ring: deque[Any] = deque(maxlen=50)
    for graphs.step in range(12):
        value = (weight * graphs.step).sum()
        graphs.mark(value)
        ring.append((value, 1.0))
    del value
    old = graphs.old(2)
    assert len(old) >= 9
    assert watch.all_bounded(old)
    losses = [entry[0] for entry in ring]
    ring.clear()
    assert not watch.all_bounded(old)
    assert watch.holder_of({"losses": losses}, old)[0] == "losses"


def test_the_last_broken_gradient_is_named() -> None:
    first, last = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    first.grad, last.grad = torch.tensor([1.0, float("nan")]), torch.ones(2)
    assert watch.broken_gradient({"first": first, "last": last}) == "first"


@pytest.mark.parametrize("value", [float("nan"), 10**400, True, 3, "text", None, b"x"])
def test_any_value_is_described(value: Any) -> None:
    assert len(list(describe.leaves({"value": value}))) == 1


def test_a_list_that_holds_itself_is_described() -> None:
    value: list[Any] = []
    value.append(value)
    assert describe.structure(value).startswith("[[")
    assert list(describe.leaves(value))


def test_offsets_between_channels_do_not_look_smooth() -> None:
    joints = torch.rand(30, 17, 3) + torch.tensor([600.0, 300.0, 0.0])
    leaf = next(describe.leaves(joints))
    assert max(leaf["smoothness"]) < 0.3
