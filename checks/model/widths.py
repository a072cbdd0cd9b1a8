"""Layers whose sizes cost more than they need."""

from __future__ import annotations

from collections.abc import Iterator

from dldoctor import AmpAsked, Finding, Place, Severity, Table, Widths, check
from dldoctor.facts.model.frames import argument_frame, line_frame

_HALF = ("float16", "bfloat16")


@check("MOD031", Severity.INFO, since="0.1")
def oversized_linear(widths: Widths, *, share: float = 0.5, weights: int = 10_000_000) -> Iterator[Finding]:
    """One Linear holds most of the network's weights, because a large map is flattened into it.

    It costs the memory of gradients and optimizer state, overfits, and fixes the input size.

    Fix: nn.AdaptiveAvgPool2d before the flatten.
    """
    for layer in widths.flattened:
        if layer.weights < weights or layer.weights < share * widths.weights or len(layer.map) < 2:
            continue
        channels, *sides = layer.map
        pooled = [min(side, max(1, side // 4)) for side in sides]
        smaller = channels
        for side in pooled:
            smaller *= side
        kind = f"nn.AdaptiveAvgPool{len(sides)}d({pooled[0] if len(set(pooled)) == 1 else tuple(pooled)})"
        at = layer.made
        yield Finding(
            Place(at.path if at else None, at.line if at else None, layer=layer.layer),
            "{layer} holds {percent:.0f} % of all weights: a map of {map} is flattened into it",
            layer=layer.layer,
            percent=100 * layer.weights / widths.weights,
            weights=layer.weights,
            map=" x ".join(map(str, layer.map)),
            show=argument_frame(layer.argument) if layer.argument else line_frame(at),
            fix=f"{kind} before the flatten makes it nn.Linear({smaller}, {layer.out_features}) and saves "
            f"{(layer.weights - smaller * layer.out_features) / 1e6:.1f} M weights",
        )


@check("MOD037", Severity.INFO, since="0.1")
def misaligned_channels(widths: Widths, amp: AmpAsked | None, *, share: float = 0.1) -> Iterator[Finding]:
    """Widths that are no multiple of 8, in half precision.

    Tensor cores work on tiles of 8 half precision numbers; other widths are padded, or take slower kernels.

    Fix: round the widths up to a multiple of 8.
    """
    layers = [layer for layer in widths.misaligned if amp is not None or layer.dtype in _HALF]
    madds = sum(layer.madds for layer in layers)
    if not widths.madds or madds < share * widths.madds:
        return
    largest = sorted(layers, key=lambda layer: -layer.madds)[:8]
    at = largest[0].made
    rows = tuple((layer.layer, layer.what, f"{100 * layer.madds / widths.madds:.0f} %") for layer in largest)
    odd = min(width for layer in largest[:1] for width in (layer.width_in, layer.width_out) if width % 8)
    yield Finding(
        Place(at.path if at else None, at.line if at else None, layer=largest[0].layer),
        "{count} {layers} with {percent:.0f} % of the MAdds {have} widths that are no multiple of 8",
        count=len(layers),
        layers="layer" if len(layers) == 1 else "layers",
        have="has" if len(layers) == 1 else "have",
        percent=100 * madds / widths.madds,
        names=[layer.layer for layer in layers],
        show=[*line_frame(at), Table(("layer", "type", "MAdds"), rows)],
        fix=f"round up to multiples of 8: {-(-odd // 8) * 8} for {odd}",
    )
