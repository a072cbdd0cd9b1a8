"""Child side: the pieces of a short training from the user's words: device, model, loss, optimizer, loader."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, IterableDataset

from dldoctor.child import UserError
from dldoctor.facts.live.pull import attempt, call, length_of, open_source
from dldoctor.facts.model.inside.criteria import resolve
from dldoctor.facts.user_code import literal, load

Loss = Callable[[Any, Any], torch.Tensor]


def device(asked: str) -> torch.device:
    """`auto` is the first GPU where there is one."""
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(asked)
        torch.zeros(1, device=device)
        return device
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UserError(f"--device {asked}: can't be used: {str(error).splitlines()[0]}") from None


def model(asked: dict[str, Any]) -> torch.nn.Module:
    """The user's network: a Module, its class, or what a factory returns."""
    found = load(asked["target"], asked["folder"])
    values = {name: literal(text) for name, text in asked["init"].items()}
    if isinstance(found, type) or not isinstance(found, torch.nn.Module):
        if not callable(found):
            raise UserError(f"{asked['target']}: is a {type(found).__name__}, neither a Module nor a way to make one")
        found = call(found, asked["target"], values)
    if not isinstance(found, torch.nn.Module):
        raise UserError(f"{asked['target']}: gives a {type(found).__name__}, not a torch.nn.Module")
    return found


def optimizer(asked: dict[str, Any], network: torch.nn.Module) -> torch.optim.Optimizer:
    """One of torch.optim by name, or what the user's factory makes for the network."""
    name = asked["optimizer"]
    if ":" in name:
        factory = _callable(name, asked["folder"], "--optimizer", 1, "f(model)")
        made = attempt(lambda: factory(network), name)
        if not isinstance(made, torch.optim.Optimizer):
            raise UserError(f"--optimizer {name}: gives a {type(made).__name__}, not an optimizer")
        return _without_closure(made, asked)
    kinds: dict[str, Any] = {
        kind.__name__.lower(): kind
        for kind in vars(torch.optim).values()
        if inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
    }
    if name.lower() not in kinds:
        raise UserError(
            f"--optimizer {name}: no such optimizer; it is one of {', '.join(sorted(kinds))}, or FILE.py:NAME"
        )
    trainable = [p for p in network.parameters() if p.requires_grad]
    if not trainable:
        raise UserError(f"{asked['target']}: has no trainable parameters")
    extra = {"momentum": 0.9} if name.lower() == "sgd" else {}
    try:
        made = kinds[name.lower()](trainable, lr=asked["learning_rate"], **extra)
    except (ValueError, TypeError) as error:
        raise UserError(f"--optimizer {name}: {error}; give your own with FILE.py:NAME") from None
    assert isinstance(made, torch.optim.Optimizer)
    return _without_closure(made, asked)


def _without_closure(made: torch.optim.Optimizer, asked: dict[str, Any]) -> torch.optim.Optimizer:
    closure = inspect.signature(type(made).step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty and not asked["step"]:
        raise UserError(f"--optimizer {asked['optimizer']}: its step needs a closure; give your own step with --step")
    return made


def _callable(name: str, folder: str, option: str, arguments: int, form: str) -> Any:
    """What the target means, which must take so many arguments.

    Raises:
        UserError: it is nothing to be called, or takes others.
    """
    found = load(name, folder)
    if not callable(found):
        raise UserError(f"{option} {name}: is a {type(found).__name__}; name a function {form}")
    try:
        inspect.signature(found).bind(*range(arguments))
    except TypeError as error:
        raise UserError(f"{option} {name}: is not {form}: {error}") from None
    except ValueError:  # no signature to be had
        pass
    return found


def step(asked: dict[str, Any]) -> Any:
    """The user's own training step; None to take the plain one."""
    if not asked["step"]:
        return None
    return _callable(asked["step"], asked["folder"], "--step", 3, "f(model, batch, optimizer)")


def loss(asked: dict[str, Any]) -> tuple[str, Loss | None]:
    """Its name and the loss asked for; None to choose one by the first batch."""
    name = asked["loss"]
    if not name:
        return "", None
    found, function = resolve(name, asked["folder"])
    if not function and not isinstance(found, torch.nn.Module):
        _callable(name, asked["folder"], "--loss", 2, "f(output, target)")
    return function or name, found


def fitting_loss(output: torch.Tensor, target: Any) -> tuple[str, Loss]:
    """The usual loss for these outputs and targets."""
    if isinstance(target, torch.Tensor):
        beside = output.shape[:1] + output.shape[2:]  # all but the classes, which stand second
        if target.dtype == torch.int64 and target.shape == beside:
            return "cross_entropy", functional.cross_entropy
        if target.is_floating_point() and output.shape == target.shape:
            return "mse_loss", functional.mse_loss
    raise UserError("no loss fits these outputs and targets by itself; give one with --loss, or a step with --step")


def loader(asked: dict[str, Any]) -> DataLoader[Any]:
    """The user's DataLoader, or one over the user's Dataset or folder."""
    data = asked["data"]
    if ":" in data and data[1:3] != ":\\":
        source = open_source(data, asked["folder"], {})
        if isinstance(source, DataLoader):
            return source
        shuffle = not isinstance(source, IterableDataset)
        # a last batch of one would be our doing, not the user's
        whole = not isinstance(source, IterableDataset) and length_of(source, data) > asked["batch"]
        return DataLoader(source, batch_size=asked["batch"], shuffle=shuffle, drop_last=whole)
    return DataLoader(_folder(asked), batch_size=asked["batch"], shuffle=True, drop_last=True)


def _folder(asked: dict[str, Any]) -> Dataset[Any]:
    """An ImageFolder of the dataset's training split, pictures resized to --input."""
    if importlib.util.find_spec("torchvision") is None:
        raise UserError("smoke on a folder needs torchvision; install it, or give data.py:train_loader")
    from torchvision import datasets
    from torchvision.transforms import v2

    root = Path(asked["folder"], asked["data"])
    train = next((root / name for name in ("train", "training", "Train") if (root / name).is_dir()), root)
    channels, *size = asked["input"] or (3, 64, 64)
    mode = v2.Grayscale(1) if channels == 1 else v2.RGB()
    transform = v2.Compose([v2.ToImage(), mode, v2.Resize(size, antialias=True), v2.ToDtype(torch.float32, scale=True)])
    try:
        folder: Dataset[Any] = datasets.ImageFolder(str(train), transform=transform)
        return folder
    except FileNotFoundError as error:
        raise UserError(f"{asked['data']}: is no folder of class folders ({str(error).splitlines()[0]})") from None
