"""Jobs that were edited after they were paid for, in words: what differs, and what each choice costs. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import accumulate, takewhile

from hedra_batch.inputs import FIELDS_BY_NAME

#: How much of a long text is shown, and how much of that stands before the difference.
EXCERPT_CHARS = 60
LEAD_CHARS = 24
#: Pairs of words up to which differences are told apart; beyond, all of them are one.
COMPARED_LIMIT = 1_000_000

_WORD = re.compile(r"\s*\S+|\s+\Z")
#: From where to where in one text.
_Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class EditNotice:
    """Edited jobs that wait for a person."""

    count: int
    #: Those of them whose attempt has not ended.
    unended: int
    #: Their price together, as they are now.
    price: str
    #: The first of them, each with what was sent and what is wanted, field by field.
    changes: Sequence[tuple[str, Mapping[str, object], Mapping[str, object]]]


@dataclass(frozen=True, slots=True)
class EditCommands:
    """What can be done about them, as lines to be pasted."""

    plan: str
    keep: str
    rebuy: str
    #: What must be so that they can be bought anew.
    condition: str = ""


def write_edits(notice: EditNotice, commands: EditCommands) -> Iterator[str]:
    """Name each job with what differs, and say what each way on costs."""
    yield from write_differences(notice)
    if notice.count > len(notice.changes):
        yield "  All of them:"
        yield f"      {commands.plan}"
    yield "  To go back, 0 credits: undo the edits in the manifest."
    # Where they are too many to be named, the lines select others with them.
    new_too = " (and what is new among the same ids is made)" if notice.count > len(notice.changes) else ""
    condition = f", {commands.condition}" if commands.condition else ""
    yield f"  To have the videos as they are count for the edited jobs, 0 credits{new_too}:"
    yield f"      {commands.keep}"
    yield f"  To buy them anew, {_describe_price(notice)}{new_too}{condition}; the files that are here stay:"
    yield f"      {commands.rebuy}"


def write_question(notice: EditNotice) -> Iterator[str]:
    """Say what the answers to the question mean, which is for all of them together."""
    yield from write_differences(notice)
    yield "  k  keep: the videos as they are count for the edited jobs, 0 credits"
    yield f"  b  buy {notice.count} anew, {_describe_price(notice)}; the files that are here stay"
    yield "  w  wait: nothing is decided, and the rest goes on"


def write_differences(notice: EditNotice) -> Iterator[str]:
    if notice.count == 1:
        yield "1 job was edited after it was paid for, or may have been, and waits for you to choose:"
    else:
        yield f"{notice.count} jobs were edited after they were paid for, or may have been, and wait for you to choose:"
    for label, sent, wanted in notice.changes:
        yield f"  {label}: {describe_change(sent, wanted)}"
    if others := notice.count - len(notice.changes):
        yield f"  … and {others} more"


def _describe_price(notice: EditNotice) -> str:
    if not notice.unended:
        return notice.price
    are = "is" if notice.unended == 1 else "are"
    which = "it" if notice.count == 1 else f"{notice.unended} of them"
    return (
        f"{notice.price} ({which} {are} not ended yet: followed first, and bought by the run after with the same line)"
    )


def describe_change(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    """Say what differs between the inputs that were paid for and those of the manifest."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return "; ".join(_describe_field(name, before.get(name), after.get(name)) for name in names)


def _describe_field(name: str, before: object, after: object) -> str:
    if before is None or after is None:
        return f"{name} {_quote_begin(before)} -> {_quote_begin(after)}"
    if FIELDS_BY_NAME[name].medium:
        return f"{name} has other content"
    old, new = str(before), str(after)
    differences = _find_differences(old, new)
    (start, old_end), (_, new_end) = _narrow(old, new, *differences[0])
    cuts = [_cut(text, start, end, longest=max(len(old), len(new))) for text, end in ((old, old_end), (new, new_end))]
    write = ascii if _look_alike(*cuts) else repr
    others = len(differences) - 1
    more = f" and {others} more place{'' if others == 1 else 's'}" if others else ""
    return f"{name} {write(cuts[0])} -> {write(cuts[1])}{more}".replace("\\u2026", "…")


def _quote_begin(value: object) -> str:
    if value is None:
        return "(none)"
    return repr(_cut(str(value), 0, 0, longest=len(str(value))))


def _find_differences(before: str, after: str) -> list[tuple[_Span, _Span]]:
    """Find where two texts differ, in whole words."""
    words, others = _WORD.findall(before), _WORD.findall(after)
    # What stands alike at both ends is left out, or a match of what comes again and again could be found across them.
    begin = _count_alike(zip(words, others, strict=False))
    rest = _count_alike(zip(reversed(words[begin:]), reversed(others[begin:]), strict=False))
    middle, other_middle = words[begin : len(words) - rest], others[begin : len(others) - rest]
    opcodes = [("replace", 0, len(middle), 0, len(other_middle))]
    if len(middle) * len(other_middle) <= COMPARED_LIMIT:
        opcodes = list(SequenceMatcher(None, middle, other_middle, autojunk=False).get_opcodes())
    old, new = _find_places(words), _find_places(others)
    return [
        ((old[begin + first], old[begin + last]), (new[begin + other_first], new[begin + other_last]))
        for kind, first, last, other_first, other_last in opcodes
        if kind != "equal"
    ]


def _count_alike(pairs: Iterable[tuple[str, str]]) -> int:
    """Count the pairs of equal words before the first that are not."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _find_places(words: Sequence[str]) -> list[int]:
    """Find where each word begins, and where the last one ends."""
    return [0, *accumulate(map(len, words))]


def _narrow(before: str, after: str, old: _Span, new: _Span) -> tuple[_Span, _Span]:
    """Leave out what the first of two unlike places have in common at both ends; both begin alike."""
    (start, old_end), (_, new_end) = old, new
    while start < min(old_end, new_end) and before[start] == after[start]:
        start += 1
    while min(old_end, new_end) > start and before[old_end - 1] == after[new_end - 1]:
        old_end, new_end = old_end - 1, new_end - 1
    return (start, old_end), (start, new_end)


def _cut(text: str, start: int, end: int, *, longest: int) -> str:
    """Cut a long text to the words around a place, in whole words where they are short enough."""
    if len(text) <= EXCERPT_CHARS:
        return text
    begin = max(0, min(start - LEAD_CHARS, longest - EXCERPT_CHARS))
    finish = min(len(text), begin + EXCERPT_CHARS)
    if begin and (gap := re.search(r"\s+", text[begin:start])):
        begin += gap.end()
    if finish < len(text) and (gap := re.search(r"\s\S*\Z", text[min(end, finish) : finish])):
        finish = min(end, finish) + gap.start()
    return f"{'…' if begin else ''}{text[begin:finish]}{'…' if finish < len(text) else ''}"


def _look_alike(one: str, other: str) -> bool:
    """Tell whether two texts are probably the same to the eye, so that their letters must be spelled out."""
    return _simplify(one) == _simplify(other)


def _simplify(text: str) -> str:
    return "".join(each for each in unicodedata.normalize("NFKC", text) if unicodedata.category(each) != "Mn")
