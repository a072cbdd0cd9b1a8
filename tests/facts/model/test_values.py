"""Networks run for real and watched, in this process: nested ones, unlike those of the fixtures."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # the field's own name for it
from torch import Tensor, nn

from dldoctor.facts.model.inside import devices, passes, watch
from dldoctor.facts.model.inside.inputs import Spec
from dldoctor.facts.model.inside.values import ValueRuns
from dldoctor.facts.model.records.values import Values
from dldoctor.facts.model.records.watched import Watched


class Block(nn.Module):
    def __init__(self, body: Any) -> None:
        super().__init__()
        self.fc = nn.Linear(16, 16)
        self.body = body

    def forward(self, x: Tensor) -> Any:
        return self.body(self, self.fc(x))


class Nested(nn.Module):
    """Two blocks and a head; the second one does what is to be found."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList([Block(lambda _, x: x.relu()), Block(body)])
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Any:
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def valued(net: nn.Module, shape: tuple[int, ...] = (16,)) -> Values:
    specs = [Spec(shape, "float32")]
    runs = ValueRuns(net, specs, True, None)
    found = runs.measure(passes.run(net, specs, 2, fake=True))
    assert found is not None, runs.why_not
    return found


def calls(net: nn.Module, shape: tuple[int, ...] = (16,)) -> Watched:
    specs, plain = [Spec(shape, "float32")], list(devices.plain_tensors(net))
    done = passes.run(net, specs, 2, fake=True)
    runs = watch.Runs(
        lambda batch, training: passes.run(net, specs, batch, fake=True, training=training, repair=False),
        lambda: passes.backward(net, specs, 2, fake=True),
        lambda: devices.run(net, specs, 2, plain),
    )
    return watch.watched(done, net, runs)


@pytest.mark.parametrize(
    ("body", "operation"),
    [
        (lambda _, x: x - x.mean(0), "sub"),
        (lambda _, x: F.normalize(x, dim=0), "normalize"),
        (lambda _, x: x / x.amax(), "div"),
        (lambda _, x: x.cumsum(0), ""),  # ranks samples, as experts of limited capacity do
        (lambda _, x: F.layer_norm(x, (16,)), ""),
        (lambda _, x: x * torch.rand(1), ""),
    ],
)
def test_the_operation_that_mixes_samples_is_named(body: Any, operation: str) -> None:
    found = valued(Nested(body)).neighbours
    assert [operation in neighbour.operation for neighbour in found] == [True] * bool(operation)
    assert all(neighbour.layer == "blocks.1" for neighbour in found)


@pytest.mark.parametrize(
    ("body", "functions"),
    [
        (lambda block, x: F.dropout(x, 0.3, block.training), []),
        (lambda _, x: F.dropout(x, 0.3), ["dropout"]),
        (lambda _, x: F.dropout(x, p=0.3, inplace=False), ["dropout"]),
        (lambda _, x: F.dropout(x, 0.3, training=True), []),  # Monte Carlo dropout
        (lambda block, x: F.dropout(x, 0.3, block.training or block.fc is not None), []),
        (lambda _, x: F.dropout(x, 0.0), []),
        (lambda _, x: x + torch.randn_like(x), []),
    ],
)
def test_a_dropout_that_stays_on_is_told_from_sampling(body: Any, functions: list[str]) -> None:
    assert [call.function for call in valued(Nested(body)).random_calls] == functions


def test_a_forward_that_refuses_three_samples_is_compared_no_further() -> None:
    def queued(_: Any, x: Tensor) -> Tensor:
        assert 64 % len(x) == 0
        return x - x.mean(0)

    assert valued(Nested(queued)).neighbours == ()


@pytest.mark.parametrize(
    ("joined", "count"),
    [
        (lambda x: x.std(0).mean().expand(len(x), 1), 0),  # minibatch standard deviation
        (lambda x: x - x.mean(0), 1),
    ],
)
def test_a_figure_of_the_batch_may_be_a_channel_of_its_own(joined: Any, count: int) -> None:
    found = valued(Nested(lambda _, x: torch.cat([x[:, :-1], joined(x)[:, :1]], 1)))
    assert len(found.neighbours) == count


def test_a_network_is_dead_where_no_step_wakes_it() -> None:
    dead, asleep = Nested(lambda _, x: (x - 100).relu()), Nested(lambda _, x: x.relu())
    nn.init.zeros_(asleep.head.weight)
    found = valued(dead).dead_after
    assert found is not None
    assert found.layer == "blocks.1.fc"
    assert valued(asleep).dead_after is None


def test_nothing_of_the_network_is_changed() -> None:
    net = nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 4)).eval()
    nn.init.zeros_(net[2].weight)  # type: ignore[arg-type]  # a Sequential's items are Modules
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state, momentum = torch.get_rng_state(), net[1].momentum
    valued(net)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert net[1].momentum == momentum
    assert all(p.grad is None for p in net.parameters())


def test_a_network_too_large_to_be_run_says_so_and_pictures_are_made_smaller() -> None:
    large = nn.Sequential(nn.Conv2d(3, 64, 7, padding=3), nn.Conv2d(64, 64, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert valued(large, (3, 224, 224)).shrunk == "3x64x64"
    runs = ValueRuns(large, [Spec((3, 32, 32), "float32")], False, None)
    assert runs.measure(passes.run(large, runs.specs, 2, fake=True)) is None
    assert "too many parameters" in runs.why_not


def test_a_change_in_place_counts_when_backward_needs_what_was_there() -> None:
    def harmful(_: Any, x: Tensor) -> Tensor:
        y = x.exp()
        x = y * 2
        y[:, 0] = 0
        return x + y

    def harmless(_: Any, x: Tensor) -> Tensor:
        x[:, 0] = 0
        return F.relu(x, inplace=True)

    (found,) = calls(Nested(harmful)).overwritten
    assert (found.kept_by, found.changed_by, found.changed_in) == ("exp", "__setitem__", "blocks.1")
    assert not calls(Nested(harmless)).overwritten


def test_the_batch_is_told_from_two_branches_by_a_batch_of_three() -> None:
    (over,) = calls(Nested(lambda _, x: x.softmax(0))).softmaxes
    (branches,) = calls(Nested(lambda _, x: torch.stack([x, -x]).softmax(0).sum(0))).softmaxes
    assert over.over_batch
    assert not branches.over_batch


def test_a_squeeze_that_costs_the_batch_is_told_from_one_that_is_put_right() -> None:
    (found,) = calls(Nested(lambda _, x: x.unsqueeze(1).squeeze())).squeezed
    assert (found.output_of_one, found.output_of_two) == ((4,), (2, 4))
    assert not calls(Nested(lambda _, x: x.unsqueeze(1).squeeze().view(-1, 16))).squeezed
    assert not calls(Nested(lambda _, x: x.unsqueeze(1).squeeze(1))).squeezed


def test_tensors_that_stay_on_the_cpu_are_found_without_a_gpu() -> None:
    (made,) = calls(Nested(lambda _, x: x + torch.ones(16))).devices
    assert (made.operation, made.layer) == ("add", "blocks.1")
    held = Nested(lambda block, x: x * block.scale)
    held.blocks[1].scale = torch.ones(16)
    (kept,) = calls(held).devices
    assert kept.attribute == "blocks.1.scale"
    assert not calls(Nested(lambda _, x: x + torch.ones(16, device=x.device) + torch.tensor(1.0))).devices


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        (lambda _, x: x @ torch.eye(16, dtype=torch.float64), ["matmul gets float32 and float64"]),
        (lambda _, x: x @ torch.eye(16), []),
        (lambda _, x: (x.double() @ torch.eye(16).double()).float(), []),
    ],
)
def test_operands_of_two_dtypes_are_found_without_values(body: Any, faults: list[str]) -> None:
    done = passes.run(Nested(body), [Spec((16,), "float32")], 2, fake=True)
    assert [fault.error.partition(": ")[2] for fault in done.rec.faults if fault.operation == "dtype"] == faults
