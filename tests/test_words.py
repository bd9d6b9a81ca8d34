"""Words of one version of the API stand in its own package, and in the few places that users or the wire need."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from hedra_batch.inputs import FIELDS

PACKAGE = Path(__file__).parents[1] / "hedra_batch"

#: Names that only version 2 has; each is looked for within longer ones too.
WORDS = re.compile(
    r"generation_?ids?(?![a-z])|ai_?model|model_slug|text_prompt|keyframe|generated_video|video_inputs|batch_(size|results|generation)"
    r"|\beta_?sec\b|eta_ms|credit_cost|credits_(needed|available|per)|base_cost|price_details|unit_scale|reserved_asset"
    r"|(download|streaming)_url|reason_code|created_after|prompt_query|page_info|x-api-key|hedra_?v2",
    re.IGNORECASE,
)
#: Constants that are a name, a path of names or a header; in a text for people a word may stand.
PLAIN = re.compile(r"[A-Za-z_][\w.-]*")

#: Where version 2 speaks, for us or as the simulated service.
OWN = ("api/v2/", "simulator/")
#: The names of the fields on the wire stand in their table, and nowhere else.
WIRES = {field.wire for field in FIELDS}
#: Where columns of `results` are read and shown, which users know by these names.
OF_COLUMNS = ("ledger/", "report/", "cli/")
COLUMNS = {"generation_id"}
#: Where a run is given its implementation.
WIRING = {"run/wiring.py": {"HedraV2"}}


def list_modules() -> list[str]:
    names = (path.relative_to(PACKAGE).as_posix() for path in sorted(PACKAGE.rglob("*.py")))
    return [name for name in names if not name.startswith(OWN)]


def find_words(source: str, *, is_constant: bool) -> set[str]:
    """Find words of version 2 among names, or among constants that look like one."""
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant) is is_constant)
    values = (value for node in nodes for _, value in ast.iter_fields(node))
    texts = (text for value in values for text in (value if isinstance(value, list) else [value]))
    return {text for text in texts if isinstance(text, str) and PLAIN.fullmatch(text) and WORDS.search(text)}


def find_strays(name: str) -> set[str]:
    """Find what a module has no business to speak of."""
    source = (PACKAGE / name).read_text("utf-8")
    constants = find_words(source, is_constant=True) - (WIRES if name == "inputs.py" else set())
    return (find_words(source, is_constant=False) - WIRING.get(name, set())) | (
        constants - COLUMNS if name.startswith(OF_COLUMNS) else constants
    )


def test_no_module_has_words_of_version_2_but_its_own() -> None:
    strays = {name: found for name in list_modules() if (found := find_strays(name))}
    assert not strays


def test_the_words_are_found_where_they_belong() -> None:
    sources = [path.read_text("utf-8") for path in sorted((PACKAGE / "api" / "v2").glob("*.py"))]
    names = set().union(*(find_words(source, is_constant=False) for source in sources))
    constants = set().union(*(find_words(source, is_constant=True) for source in sources))
    assert "generation_id" in names
    assert {"generation_id", "model_slug", "X-API-Key", "credit_cost", "download_url"} <= constants


@pytest.mark.parametrize(
    ("source", "names", "constants"),
    [
        ("derive_generation_id(attempt)", {"derive_generation_id"}, set()),
        ("row['generation_id']", set(), {"generation_id"}),
        ("def read(*, generation_ids): ...", {"generation_ids"}, set()),
        ("field = Field('generated_video_inputs.seed')", set(), {"generated_video_inputs.seed"}),
        ("headers = {'X-API-Key': key}", set(), {"X-API-Key"}),
        ("f'/generations/{generation_id}/status'", {"generation_id"}, set()),
        ("print('A key such as X-API-Key is refused.')", set(), set()),
        ("eta_seconds = credits_charged", set(), set()),
    ],
)
def test_a_word_is_found_as_a_name_and_as_a_plain_constant(source: str, names: set[str], constants: set[str]) -> None:
    assert find_words(source, is_constant=False) == names
    assert find_words(source, is_constant=True) == constants
