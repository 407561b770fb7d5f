"""Section `statistics`."""

from pydantic import Field

from osler.build.section import Section, Seed


class Statistics(Section):
    """Settings of `statistics`."""

    confidence: float = Field(ge=0.5, le=0.9999, description="of every interval")
    bootstrap_samples: int = Field(ge=100, le=1_000_000, description="resamplings of a calibration error")
    bootstrap_seed: Seed = Field(description="of those resamplings")
    little_points: float = Field(
        gt=0, le=100, description="percentage points; what claim 1 calls a little gain is below it"
    )
    equivalence_points: float = Field(
        gt=0, le=100, description="percentage points; a difference surely within +- this is none"
    )
