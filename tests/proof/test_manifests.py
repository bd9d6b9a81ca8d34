"""Whatever stands in a manifest, it becomes sound jobs or faults with a place: shown on thousands drawn by lot."""

from __future__ import annotations

import copy
import json
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from unicodedata import normalize

import pytest
import yaml
from conftest import make_png

from hedra_batch.errors import ProblemsError
from hedra_batch.manifest.faults import MOST_FAULTS
from hedra_batch.manifest.loading import Manifest, load_manifest

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]

CHUNKS = 8
EDITIONS = ("", "", "", "", "", "b", "2026-11-22")
IMAGES = ("a.png", "photos/red/front.png", "photos/blue/front.png", "é.png")
OWN_NAMES = {"logs", "simulator", "run.lock", "readme.txt", "ledger.sqlite3", "identity.json", "summary.json"}
DEVICES = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9])\.", re.IGNORECASE)

Dice = random.Random
Tree = dict[str, Any]

WORDS = ("storm", "Hero", "red", "größe", "日本", "v1.2", "a_b", "key-visual", "no", "null", "1", "x" * 60)
TEXTS = ("A storm gathers over the hills", "Ein Hut: grün #2", "line\nline", "日本の夜 🎬", "no", "'quoted'", "- dash")
SETTINGS: dict[str, tuple[Any, ...]] = {
    "model": ("fal/grok-video-i2v", "Grok Video", "827122cd-5fdd-4412-86f2-554f7bb8eef9"),
    "aspect_ratio": ("16:9", "9:16", "1:1"),
    "resolution": ("540p", "720p", "4k"),
    "duration": ("5s", "5000ms", "1.5 s", "1m"),
    "negative_prompt": ("text, watermarks", "no # sign", "日本"),
    "variations": (1, 2, 7),
}
#: One video a job: what fixes the result stands beside no several variations.
FIXED: tuple[Tree, ...] = ({"seed": 0, "variations": 1}, {"seed": 2**63 - 1, "variations": 1}, {})
WHOLE: dict[str, tuple[Any, ...]] = {
    "name": ("spring", "May sale", "größe"),
    "budget": ("500 credits", "1 credit"),
    "limits": ({"submit": "10/min", "in_flight": 9}, {"uploads": 1, "downloads": 1000, "poll": "0.5/s"}),
    "output": ("films/{id}.mp4", "{id}.mp4", "{edition}/{id}.mp4", "a b/{id} x.mp4", "{edition}/{edition}/{id}.mp4"),
    "on_unknown": ("resend", "hold"),
    "quiet_window": ("10m", "90s", "24h"),
    "exclude": (["nothing-*"], ["*--[!a-z]*", "?"]),
}
ODD_VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        1.5,
        10**18,
        2**63,
        10**40,
        float("inf"),
        float("nan"),
        "",
        " ",
        [],
        {},
        [[]],
        {"": ""},
    ),
    *("x" * 300, "x" * 30_000, "9" * 500, "{{", "{id}", "{}.mp4", "{id", "%s", "*", "?", "[", "[!", "**", "**/**"),
    *("../x", "/etc/passwd", ".", "..", "a/b", "a\\b", "-", ".hidden", "photos/*/front.png", "missing.png"),
    *("http://h/a", "https://", "https://h/a b", "https://u:p@h/a", "https://[", "file:///a", "data:,", "HTTPS://h/a"),
    *("\x1b[31m", "a\0b", "\u202etxt", "\u200b", "a\u2028b", "e\u0301", "\ufb01", "\U000e0041", "sk_hedra_0123456789a"),
    *("5", "5 s", "5 parsecs", "-5s", "0s", "1e3s", "11m", "10/min", "0/s", "1/fortnight", "500", "credits", "hold!"),
    *("<<", "*a", "&a", "!!int 5", "---", "# no", "a: b", "- a", "\t", "16:9", "1080i", "yes", "~", "0x10"),
)
ODD_OUTPUTS = (
    *("../{id}.mp4", "/tmp/{id}.mp4", "a/../../{id}.mp4", ".x/{id}.mp4", "a//{id}.mp4", "./{id}.mp4", "{id}/../x.mp4"),
    *("logs/{id}.mp4", "Ledger.SQLite3/{id}.mp4", "run.lock/{id}.mp4", "a/NUL .x/{id}.mp4", "{id}/x.mp4"),
    *("x.mp4", "con/{id}.mp4", "{image}.mp4", "{prompt}.mp4", "{id}.take2.mp4", "{id}.MP4", "a\\{id}.mp4"),
    "{id}" * 40 + ".mp4",
)
ODD_IMAGES = ("missing.png", "text.png", "pipe.png", "loop.png", "photos", "*.png", "**/*.png", "**", "/dev/zero")
ODD_NAMES = ("Storm", "storm", "con", "LPT1.x", "logs", "run.lock", "a.take2", "e\u0301", "é", "日" * 100, "..", "a b")
ODD_KEYS = (
    "",
    "<<",
    "id",
    "prompt",
    "image",
    "seed",
    "Version",
    "version ",
    "api_key",
    "x-api-key",
    "password",
    "k" * 2000,
)
SYNTAX = (
    *(":", ": ", "#", " #", "-", "- ", "? ", "[", "]", "{", "}", ",", "'", '"', "|", ">", "&a ", "*a", "!x ", "!!map "),
    *("<<: *a", "%", "%TAG !a! b\n", "---\n", "...\n", "\n", "\n\n  ", "\t", "\r", "\\", "@", "`", "~", "\x85"),
)
ODD_BYTES = (b"\0", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xc0\x80", b"\xed\xa0\x80", b"\x1b[2J", b"\xc2\x9b")


def draw_some(dice: Dice, options: dict[str, tuple[Any, ...]], share: float) -> Tree:
    return {key: copy.deepcopy(dice.choice(values)) for key, values in options.items() if dice.random() < share}


def draw_names(dice: Dice) -> list[str]:
    return [f"{word}-{dice.randrange(10)}" for word in dice.sample(WORDS, dice.randint(1, 4))]


def draw_matrix(dice: Dice) -> Tree:
    """Prompts, with images or without."""
    prompts = {name: f"{dice.choice(TEXTS)} {name}" for name in draw_names(dice)}
    tree: Tree = {"prompts": prompts if dice.random() < 0.7 else list(prompts.values())}
    if dice.random() < 0.6:
        sources = [f"https://example.com/{name}.png" for name in draw_names(dice)] + dice.sample(["a.png", "é.png"], 1)
        named = dict(zip("abcde", [*sources[1:], "photos/red/front.png"], strict=False))
        tree["images"] = named if dice.random() < 0.5 else [*sources[1:], "photos/*/front.png"]
    return tree


def draw_jobs(dice: Dice) -> list[Tree]:
    return [
        {
            "id": f"job-{name}",
            "prompt": dice.choice(TEXTS),
            **draw_some(dice, SETTINGS, 0.3),
            **draw_some(dice, {"image": IMAGES, "end_image": IMAGES}, 0.3),
            **dice.choice(FIXED),
        }
        for name in draw_names(dice)
    ]


def draw_tree(dice: Dice) -> Tree:
    """Draw a manifest without faults."""
    tree: Tree = {"version": 1, **draw_some(dice, WHOLE, 0.2)}
    if dice.random() < 0.5:
        tree["defaults"] = draw_some(dice, SETTINGS, 0.4)
    has_matrix = dice.random() < 0.6
    if has_matrix:
        tree |= draw_matrix(dice)
    if not has_matrix or dice.random() < 0.4:
        tree["jobs"] = draw_jobs(dice)
    return tree


def find_spots(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a tree, as a container and a key or an index."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from find_spots(value[key])


def spoil_tree(dice: Dice, tree: Tree) -> None:
    """Change one thing: a value, a key, or what stands how often."""
    tree.setdefault("version", 1)
    container, key = dice.choice(list(find_spots(tree)))
    match dice.randrange(9):
        case 0 | 1:
            container[key] = copy.deepcopy(dice.choice(ODD_VALUES))
        case 2:
            container[key] = nest(container[key], dice.choice((1, 3, 20, 100)))
        case 3 if isinstance(container, dict):
            container[dice.choice((*ODD_KEYS, f"{key}s", key[:-1], key.upper()))] = container.pop(key)
        case 4:
            # The same object in two places: the text has an anchor and an alias.
            tree[dice.choice(("defaults", "jobs", "prompts", "images", "exclude", "limits"))] = container[key]
        case 5:
            tree["output"] = dice.choice(ODD_OUTPUTS)
        case 6:
            tree["images"] = [dice.choice(ODD_IMAGES)]
        case 7:
            tree["prompts"] = dict.fromkeys(dice.sample(ODD_NAMES, 3), "A storm")
        case 8 if isinstance(container, list):
            container += [container[key]] * dice.choice((1, 2, 500))
        case _:
            del container[key]


def nest(value: Any, depth: int) -> Any:
    for _ in range(depth):
        value = [value]
    return value


def write_text(dice: Dice, tree: Tree) -> str:
    """Write a tree in one of the styles of YAML."""
    if dice.random() < 0.3:
        return json.dumps(tree, ensure_ascii=dice.random() < 0.5, indent=dice.choice((None, 1, 4)))
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    style = dice.choice((None, False, True))
    return str(yaml.dump(tree, Dumper=dumper, default_flow_style=style, sort_keys=False, allow_unicode=True, width=60))


def spoil_text(dice: Dice, text: str) -> str:
    """Damage the syntax in one place."""
    place, length = dice.randrange(len(text) + 1), dice.choice((1, 1, 1, 3, 20, 5000))
    lines = text.splitlines(keepends=True)
    match dice.randrange(5):
        case 0:
            return text[:place] + text[place + length :]
        case 1:
            return text[:place]
        case 2:
            return "".join(dice.choice(("", " ", "  ", "\t")) + line for line in lines)
        case 3:
            return "".join(dice.choices(lines, k=len(lines) + 1)) if lines else text
        case _:
            return text[:place] + dice.choice(SYNTAX) * length + text[place:]


def spoil_bytes(dice: Dice, content: bytes) -> bytes:
    """Put in what is no text, or take another encoding."""
    place = dice.randrange(len(content) + 1)
    inserted = dice.choice((dice.choice(ODD_BYTES), dice.randbytes(dice.randint(1, 9))))
    if dice.random() < 0.2:
        text = content.decode("utf-8", "replace")
        return text.encode(dice.choice(("utf-16", "utf-32-le", "latin-1", "cp037")), "replace")
    return content[:place] + inserted + content[place:]


def draw_manifest(dice: Dice) -> bytes:
    """Draw one of four kinds: sound, or with a damaged tree, syntax or file."""
    tree = draw_tree(dice)
    kind = dice.choice(("sound", "sound", "tree", "tree", "syntax", "bytes"))
    for _ in range(dice.choice((1, 1, 2, 3)) if kind == "tree" else 0):
        spoil_tree(dice, tree)
    text = write_text(dice, tree)
    if kind == "syntax":
        text = spoil_text(dice, text)
    content = text.encode("utf-8", "surrogatepass")
    if kind == "sound" and dice.random() < 0.2:
        return b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n")
    return spoil_bytes(dice, content) if kind == "bytes" else content


def furnish(folder: Path) -> None:
    """Put the files into a folder that the manifests name."""
    for shade, name in enumerate(IMAGES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(make_png(shade))
    (folder / "text.png").write_text("no image")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "photos/circle").symlink_to(folder)
    os.mkfifo(folder / "pipe.png")


def assert_sound(manifest: Manifest, again: Manifest) -> None:
    jobs = manifest.jobs
    assert jobs
    for names in ([job.id for job in jobs], [job.output for job in jobs]):
        assert len({normalize("NFKC", name.casefold()) for name in names}) == len(names), names
    for job in jobs:
        parts = PurePosixPath(job.output).parts
        assert job.output.endswith(".mp4")
        assert not any(part.startswith((".", "/")) or len(part.encode()) > 240 for part in parts), job.output
        assert not OWN_NAMES & {parts[0].casefold()}, job.output
        assert not any(DEVICES.match(f"{part}.") for part in parts), job.output
        assert (job.inputs.get_text("prompt") or "").strip()
    assert [(job.id, job.output, job.inputs.digest) for job in again.jobs] == [
        (job.id, job.output, job.inputs.digest) for job in jobs
    ]


def assert_told(error: ProblemsError, path: Path) -> None:
    place = re.compile(rf"{re.escape(str(path))}:[1-9][0-9]*:[1-9][0-9]*: \S")
    more = f"{path}: these are the first {MOST_FAULTS:,}; there are more"
    assert error.problems
    for line in error.problems:
        assert line == more or place.match(line), line
        assert line.isprintable(), line
        assert len(line) < 1000, line


def is_sound(path: Path, edition: str) -> bool:
    """Tell which of the two a manifest is, having checked all that is promised of it."""
    try:
        manifest = load_manifest(path, edition=edition)
    except ProblemsError as error:
        assert_told(error, path)
        return False
    assert_sound(manifest, load_manifest(path, edition=edition))
    return True


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_manifest_becomes_sound_jobs_or_faults_with_a_place(
    tmp_path: Path, pytestconfig: pytest.Config, chunk: int
) -> None:
    furnish(tmp_path)
    path = tmp_path / "batch.yaml"
    dice = random.Random(f"{pytestconfig.getoption('--seed')} {chunk}")
    count = -(-pytestconfig.getoption("--manifests") // CHUNKS)
    sound = 0
    for _ in range(count):
        # The file of a failed test stays, so that it can be looked at.
        path.write_bytes(draw_manifest(dice))
        sound += is_sound(path, dice.choice(EDITIONS))
    assert count // 5 <= sound <= count - count // 5


def test_what_a_file_writes_out_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "batch.yaml"
    path.write_text("version: 1\na: [" + "0," * 2_000_000 + "]", "utf-8")
    with pytest.raises(ProblemsError, match="manifest: holds too much"):
        load_manifest(path)
