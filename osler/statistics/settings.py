"""Section `statistics`."""

from pydantic import Field

from osler.build.section import Section


class Statistics(Section):
    """Settings of `statistics`."""

    confidence: float = Field(gt=0, lt=1, description="of every interval")
    bootstrap_samples: int = Field(ge=100, description="resamplings of a calibration error")
    bootstrap_seed: int = Field(ge=0, description="of those resamplings")
    little_points: float = Field(gt=0, description="percentage points; what claim 1 calls a little gain is below it")
    equivalence_points: float = Field(gt=0, description="percentage points; a difference surely within +- this is none")
