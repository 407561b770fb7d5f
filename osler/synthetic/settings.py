"""Section `synthesize`: how much is invented, and what is planted in it."""

from pydantic import Field

from osler.build.section import Section, Seed
from osler.synthetic.instruction_forms import OPTIONS
from osler.synthetic.knowledge import MAXIMUM_VALUES

BENCHMARK = "benchmark/items.jsonl"
MADE = (
    *("corpus/notes/part-00000.jsonl", "corpus/notes/part-00001.jsonl", "corpus/abstracts.csv.gz"),
    *("corpus/guidelines.parquet", "corpus/towns.txt.gz", "instructions/clinical_qa.jsonl.gz"),
    *("instructions/general_qa.jsonl", BENCHMARK, "tasks/findings.jsonl", "tasks/readings.jsonl", "planted.jsonl"),
)
"""The files of the stage, below data/raw/<name>."""


class Synthesize(Section):
    """Sizes of the invented corpus."""

    seed: Seed = Field(description="of the corpus alone; training has its own")
    drugs: int = Field(ge=8, le=200, description="invented drugs")
    diseases: int = Field(ge=8, le=200, description="invented diseases")
    towns: int = Field(ge=4, le=200, description="invented towns")
    unwritten_facts_fraction: float = Field(
        ge=0.0, le=0.3, description="of the facts that only the benchmark asks about: those that no document states"
    )
    values_per_attribute: int = Field(ge=OPTIONS, le=MAXIMUM_VALUES, description="values that an attribute can have")
    notes: int = Field(ge=2, le=1_000_000, description="documents before planting")
    abstracts: int = Field(ge=2, le=1_000_000, description="documents before planting")
    guidelines: int = Field(ge=2, le=1_000_000, description="documents before planting")
    town_documents: int = Field(ge=2, le=1_000_000, description="documents")
    exact_duplicates: int = Field(ge=0, le=1_000_000, description="planted documents")
    near_duplicates: int = Field(ge=0, le=1_000_000, description="planted documents")
    contaminated_documents: int = Field(ge=0, le=1_000_000, description="planted documents")
    contaminated_instructions: int = Field(ge=0, le=1_000_000, description="planted rows of clinical_qa")
    entities_in_instructions_fraction: float = Field(gt=0.0, lt=1.0, description="of the drugs and of the diseases")
    instructions: int = Field(ge=0, le=1_000_000, description="rows of clinical_qa before planting")
    general_instructions: int = Field(ge=0, le=1_000_000, description="rows of general_qa")
    listed_instructions_fraction: float = Field(ge=0.0, le=1.0, description="of either, that list options")
    reasoned_instructions_fraction: float = Field(ge=0.0, le=1.0, description="of either, that ask to think aloud")
    joined_instructions_fraction: float = Field(
        ge=0.0, le=1.0, description="of either, that are turns of one conversation with others of their form"
    )
    facts_asked_twice_fraction: float = Field(ge=0.0, le=1.0, description="of the test facts; the others have one item")
    dev_items: int = Field(ge=0, le=1_000_000, description="benchmark items; a fact has at most one")
    task_items: int = Field(
        ge=1, le=1_000_000, description="of each generative task, about entities that no instruction asks about"
    )
