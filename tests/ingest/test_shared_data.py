"""The real data beside the project, where it is there.

Every source can be read by some section.
"""

from typing import Any

import pytest

from osler.ingest.faults import Fault
from osler.ingest.records import file_records, source_files
from osler.ingest.source import contents
from tests.ingest.test_records import section
from tests.support.project import SHARED


def turns(user: str, assistant: str) -> dict[str, Any]:
    """The keys of a source of instructions."""
    both = [{"role": "user", "text": user}, {"role": "assistant", "text": assistant}]
    return {"collection": "instructions", "text": None, "turns": both}


# The keys that differ from a jsonl source with {text}; rows as the data's README counts them; documents.
SECTIONS: list[tuple[str, dict[str, Any], int, int]] = [
    ("corpus/pmc_oa_rct", {"id": "pmcid", "license_field": "license", "date_field": "year"}, 1000, 1000),
    ("corpus/medical_abstracts", {"format": "csv", "text": "{medical_abstract}"}, 2889, 2888),  # and a file of labels
    ("corpus/mtsamples", {"id": "url", "text": "{sample_name}\n{transcription}"}, 3856, 3856),
    ("corpus/openstax_anatomy_physiology", {"id": "path", "text": "{title}\n\n{text}"}, 198, 198),
    ("corpus/trial_eligibility", {"id": "nct_id"}, 1500, 1500),
    ("corpus/im_handbook_md", {"id": "path"}, 137, 137),
    ("corpus/drug_labels", {"format": "parquet", "id": "file"}, 161, 161),
    ("replay/openstax_us_history", {"id": "path"}, 177, 177),
    ("replay/wikitext2", {"format": "txt", "split": "(?m)^(?= = [^=].* = $)"}, 122, 122),
    ("replay/tinyshakespeare", {"format": "txt", "split": "\n\n"}, 7222, 7222),  # speeches
    ("replay/pepys_diary", {"id": "path"}, 113, 113),
    ("replay/sherlock_holmes", {"id": "path"}, 12, 12),
    ("instruct/medquad", turns("{question}", "{answer}"), 16407, 16407),
    ("instruct/wikidoc_patient_information", turns("{input}", "{output}"), 5942, 5942),
    ("instruct/genmedgpt_5k", turns("{instruction}\n\n{input?}", "{output}"), 5452, 5452),
    ("instruct/medinstruct_test", turns("{instruction}", "{gpt-4-answer}"), 216, 216),
    ("instruct/medinstruct_seed", {"text": "{instruction}"}, 167, 167),  # without answers
    ("instruct/alpaca_2k", turns("{instruction}\n\n{input?}", "{output}"), 2000, 2000),
    ("instruct/self_instruct_user_oriented", turns("{instruction}\n\n{instances.0.input?}", "{instances.0.output}"), 252, 252),
    ("instruct/p3_general_qa", turns("{prompt}", "{completion}"), 5200, 5200),
    ("instruct/mts_dialog", {"format": "csv"} | turns("{section_header}\n\n{dialogue}", "{section_text}"), 1301, 1301),
    ("instruct/aci_bench", {"format": "csv", "id": "encounter_id"} | turns("{dialogue}", "{note}"), 87, 87),
]  # fmt: skip

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="no data beside the project (OSLER_SHARED_DATA)")


@pytest.mark.parametrize(("path", "changed", "rows", "documents"), SECTIONS, ids=[path for path, *_ in SECTIONS])
def test_a_source_can_be_read(path: str, changed: dict[str, Any], rows: int, documents: int) -> None:
    """As many rows as the data's README counts.

    Each is a document or a fault.
    """
    source = section(**changed)
    templates = source.templates
    found, faults = 0, []
    for file in source_files(SHARED / path, source):
        for _, record in file_records(file, source):
            made = record if isinstance(record, Fault) else contents(record, source, templates)
            found += 1
            faults += [made] if isinstance(made, Fault) else []
    print(f"{path}: {found} rows, {found - len(faults)} documents, {sorted({fault.reason for fault in faults})}")
    assert (found, found - len(faults)) == (rows, documents)


def test_no_source_is_left_out() -> None:
    """Each folder of corpus, replay and instruct has its section."""
    folders = {f"{part}/{one.name}" for part in ("corpus", "replay", "instruct") for one in (SHARED / part).iterdir()}
    assert folders == {path for path, *_ in SECTIONS}
