"""A gated residual network between the last norm and the head of a frozen model.

Nothing below it learns, so that no gradient goes through the model. It is no method of peft's: its folder has a config and weights
of Osler's own, and Osler alone loads it.

Source:
    A gated residual network is Lim et al. 2019, arXiv 1912.09363, equations 2 to 5: LayerNorm(a + GLU(W1 ELU(W2 a + b2) + b1)),
    where GLU(x) = sigmoid(W4 x + b4) * (W5 x + b5). Le et al., arXiv 2407.19299, put one as final layer on pretrained encoders
    that classify clinical notes. Its abstract was read and its text could not be; so how theirs is built is not known here.
    Chosen here: the layer norm is before the network and not behind the sum, and W5 and b5 begin at zero, by which a fresh one
    changes no logit; the inner layers have a width of their own; there is no dropout; the head behind it is the model's own,
    not one of classes.

Shapes: D width of the model's states, E inner width.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import elu

NETWORK = "gated_residual"  # a module of the model
PEFT_TYPE = "OSLER_GATED_RESIDUAL"  # where peft looks for a method; by this name it has none


class GatedResidual(nn.Module):
    """h + sigmoid(gate(x)) * value(x), where x = second(ELU(first(norm(h)))).

    Args:
        width: D.
        inner: E.
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first, self.second = nn.Linear(width, inner), nn.Linear(inner, inner)
        self.gate, self.value = nn.Linear(inner, width), nn.Linear(inner, width)

    def draw(self, seed: int) -> None:
        """Set the first weights, drawn from `seed`.

        They are uniform in +-1 / sqrt(inputs), biases and all of `value` zero.
        """
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for layer in (self.first, self.second, self.gate, self.value):
                bound = layer.in_features**-0.5 if layer is not self.value else 0.0
                drawn = torch.rand(layer.weight.shape, generator=generator) * 2 - 1
                layer.weight.copy_(drawn * bound)
                layer.bias.zero_()

    def forward(self, states: Tensor) -> Tensor:
        """States (..., D) of what they are."""
        inner = self.second(elu(self.first(self.norm(states))))
        changed: Tensor = states + torch.sigmoid(self.gate(inner)) * self.value(inner)
        return changed


class _Config:
    """What is written beside the weights."""

    def __init__(self, **values: Any) -> None:
        self.values = values

    def to_dict(self) -> dict[str, Any]:
        return dict(self.values)


def put_network(model: Any, settings: Mapping[str, Any], seed: int, _key: str, _longest: int) -> Any:
    """A network that changes no logit yet; see `osler.model.adapters.adapt`.

    Its weights are drawn on the CPU, uniform: the same bytes on any machine.
    """
    head = model.get_output_embeddings().weight
    network = GatedResidual(head.shape[1], settings["inner_width"])
    network.draw(seed)
    model.requires_grad_(False)
    model.register_module(NETWORK, network.to(head.device))
    return _Config(
        hidden_size=head.shape[1], inner_width=settings["inner_width"], peft_type=PEFT_TYPE, task_type="CAUSAL_LM"
    )


def written_network(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the file holds: weights by their names in the model."""
    return {name: value for name, value in weights.items() if name.startswith(f"{NETWORK}.")}


def read_network(tensors: Mapping[str, Tensor], _model: Any) -> dict[str, Tensor]:
    """Weights by their names in the model, of what the file holds."""
    return dict(tensors)


class Gated:
    """A frozen model with a network before its head.

    It has what evaluation asks of a model: `model`, `lm_head`, `config` and `device`.
    """

    def __init__(self, whole: Any, network: GatedResidual) -> None:
        self.whole, self.network = whole, network
        self.lm_head, self.device, self.config = whole.lm_head, whole.device, whole.config

    def model(self, *given: Any, **asked: Any) -> Any:
        """The decoder's output, whose last states the network has changed."""
        output = self.whole.model(*given, **asked)
        return SimpleNamespace(
            last_hidden_state=self.network(output.last_hidden_state),
            router_logits=getattr(output, "router_logits", None) or (),
        )


def gated(model: Any, tensors: Mapping[str, Tensor]) -> Gated:
    """A frozen model with what the file holds."""
    own = {name.removeprefix(f"{NETWORK}."): value for name, value in tensors.items()}
    inner, width = own["first.weight"].shape
    network = GatedResidual(width, inner)
    network.load_state_dict(own)
    return Gated(model, network.to(model.device, model.dtype).eval())
