"""The tracker that `launch.tracker` asks for: a web page or service that shows runs as they train.

accelerate knows how each is talked to. Who the user is and where the service runs is told by each tracker's own environment
variables and log-in, never by params.yaml; without them all lies in the run's folder of scratch/live/. The packages are no
part of the lock: they may be of any version, since a result does not depend on them.
"""

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from osler.build.section import BuildError

TrackerName = Literal["tensorboard", "wandb", "mlflow", "trackio"]
PROJECT = "osler"


def check_tracker(name: TrackerName | None, where: str = "launch") -> None:
    """Refuse a tracker whose package is absent.

    Raises:
        BuildError: names the key, below `where`, and what to install.
    """
    if name and not find_spec(name):
        raise BuildError(f"params.yaml: {where}.tracker: {name}: no such package here; pip install {name}, or set null")


def started_tracker(name: TrackerName, run: str, folder: Path, settings: Mapping[str, Any]) -> Any:
    """A run of accelerate's tracker, with `settings` as its parameters.

    Args:
        name: of the tracker.
        run: what the run is called there.
        folder: where files go that the tracker's own variables send nowhere else.
        settings: key -> text or number.
    Raises:
        BuildError: its package is absent, or it could not start.
    """
    check_tracker(name)
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    place = folder.resolve() / name
    place.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{folder.resolve()}/mlflow/mlflow.db")
    os.environ.setdefault("TRACKIO_DIR", str(folder.resolve() / "trackio"))
    own: dict[str, dict[str, Any]] = {
        "tensorboard": {"run_name": run, "logging_dir": place},
        "wandb": {"run_name": PROJECT, "name": run, "dir": str(place)},
        "mlflow": {"experiment_name": PROJECT, "run_name": run, "logging_dir": str(place)},
        "trackio": {"run_name": PROJECT, "name": run},
    }
    try:
        tracker = LOGGER_TYPE_TO_CLASS[name](**own[name])
        tracker.start()
        tracker.store_init_configuration(dict(settings))
    except Exception as error:  # noqa: BLE001 - of any kind: no log-in, no service, a package that lacks a part
        raise BuildError(f"params.yaml: launch.tracker: {name} could not start: {error}") from None
    return tracker


def track(tracker: Any, values: Mapping[str, Any], step: int) -> bool:
    """Hand values to a tracker; whether it goes on taking them.

    One that fails is told about once, and is no reason to end a run.
    """
    try:
        tracker.log(dict(values), step=step)
    except Exception as error:  # noqa: BLE001 - a service that is away: of any kind
        print(f"warning: launch.tracker: {error}; it gets no more values", file=sys.stderr, flush=True)
        return False
    return True
