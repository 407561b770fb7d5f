"""The default params, copies of them with another value, and the params of profiles."""

import copy
from typing import Any

import yaml

from osler.build.pipeline import ROOT
from osler.build.profiles import profile

PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The default params with another value at a path of keys."""
    params = copy.deepcopy(PARAMS)
    section = params
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    return params


def profile_params(name: str) -> dict[str, Any]:
    """The values that a profile stands for."""
    params: dict[str, Any] = yaml.safe_load(profile(ROOT, name))
    return params
