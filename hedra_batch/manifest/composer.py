"""From YAML text to a tree of plain values, by the rules of YAML 1.2 and within limits.

It reads the parser's events itself: that costs an eighth of composing nodes, and no bomb is ever built.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from unicodedata import normalize

import yaml

from hedra_batch.errors import ManifestError
from hedra_batch.manifest.document import ManifestText, Mapping, Sequence, Tree
from hedra_batch.manifest.faults import (
    MOST_FAULTS,
    WHY_REFUSED,
    Fault,
    Loc,
    describe_unsafe,
    explain_syntax_error,
    find_depth_limit,
    holds_credential,
    names_credential,
    render_faults,
    shown,
)

#: A manifest needs three levels; the C parser would follow a thousand.
_DEEPEST = 16
#: Keys and values: enough for 100,000 single jobs with nine fields.
_MOST_VALUES = 2_000_000
#: Those of them that aliases repeat, counted each time.
_MOST_REPEATED = 300_000
#: A key is a field or a name; what is this long was meant as a text.
_LONGEST_KEY = 1_000
#: A long text counts as several values, so that aliases of it are bounded too.
_CHARACTERS_PER_VALUE = 100

_CORE_SCHEMA = re.compile(
    r"(?P<null>~|null|Null|NULL|)"
    r"|(?P<bool>true|True|TRUE|false|False|FALSE)"
    r"|(?P<int>[-+]?[0-9]{1,19}|0o[0-7]{1,20}|0x[0-9a-fA-F]{1,16})"
    r"|(?P<float>[-+]?(?:\.[0-9]{1,40}|[0-9]{1,40}(?:\.[0-9]{0,40})?)(?:[eE][-+]?[0-9]{1,4})?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))"
)
_READERS: dict[str | None, Callable[[str], Any]] = {
    "null": lambda _: None,
    "bool": lambda text: text.lower() == "true",
    "int": lambda text: int(text, 0) if text.startswith(("0o", "0x")) else int(text),
    "float": lambda text: float(text.lower().replace(".inf", "inf").replace(".nan", "nan")),
}
_MERGE = "<<"
#: The parser would compare each such line with all others; a manifest has no use for one.
_TAG_LINE = re.compile(r"(?:\A|[\n\r\x85\u2028\u2029])(%TAG)")
_TEXT_TAGS = frozenset({"!", "tag:yaml.org,2002:str"})
_FREE_NAMES = frozenset({("prompts",), ("images",)})
#: The parser in C, where PyYAML was built with it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _FatalFaultError(Exception):
    """The text cannot be read beyond this fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.what)
        self.fault = fault


def compose(text: ManifestText, last_key: str | None = None) -> Tree:
    """Read the YAML of a manifest as far as it goes, or only to the value of a key at its top."""
    return _Composer(text, last_key).read()


def compose_whole(text: ManifestText, last_key: str | None = None) -> Tree:
    """Read all that is asked for of a manifest. Raises ManifestError where it cannot be read so far."""
    tree = compose(text, last_key)
    if tree.is_broken:
        raise ManifestError(render_faults(tree.faults, tree))
    return tree


class _Composer:
    """Composes the events of one file into values."""

    def __init__(self, text: ManifestText, last_key: str | None) -> None:
        self._text = text
        self._last_key = last_key
        #: Whether the last key was met, so that nothing beyond its value is looked at.
        self._has_stopped = False
        # Typed loosely: the parsers in C and in Python share no type, and their events have marks always.
        self._next_event: Callable[[], Any]
        self._faults: list[Fault] = []
        self._cuts: dict[Loc, str] = {}
        self._unused: dict[str, Loc] = {}
        self._secrets: set[Loc] = set()
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._count = 0
        self._repeated = 0
        #: The value that is being read: the best name for the place of a syntax error.
        self._at: Loc = ()

    def read(self) -> Tree:
        try:
            # To make the parser in Python is to check the text already.
            self._next_event = _LOADER(self._text.content).get_event
            return self._read_document()
        except yaml.YAMLError as error:
            if (end := find_depth_limit(error)) is not None:
                # Some versions of the parser have a limit of their own and look ahead for it; ours is met before it.
                return _Composer(ManifestText(self._text.file, self._text.content[:end]), self._last_key).read()
            fault = explain_syntax_error(error, self._find_location_to_tell())
        except _FatalFaultError as error:
            fault = error.fault
        return Tree(self._text, None, 0, [*self._faults, fault], self._cuts, is_broken=True)

    def _find_location_to_tell(self) -> Loc:
        # What stands below a credential may be the credential.
        prefixes = (self._at[:length] for length in range(len(self._at)))
        return next((prefix for prefix in prefixes if prefix in self._secrets), self._at)

    def _read_document(self) -> Tree:
        if "%TAG" in self._text.content and (line := _TAG_LINE.search(self._text.content)):
            raise _FatalFaultError(
                Fault((), "has a line '%TAG', which a manifest cannot use (remove it)", line.start(1))
            )
        self._next_event()
        if not isinstance(self._next_event(), yaml.DocumentStartEvent):
            raise _FatalFaultError(Fault((), "is empty (begin with the line 'version: 1')", 0))
        event = self._next_event()
        value = self._read_value(event, ())
        if not self._has_stopped:
            self._add_unused_anchors()
            self._require_end()
        return Tree(self._text, value, event.start_mark.index, self._faults, self._cuts)

    def _require_end(self) -> None:
        self._next_event()
        following = self._next_event()
        if isinstance(following, yaml.DocumentStartEvent):
            raise _fatal("holds a second document after '---' (write one manifest in one file)", following)

    def _read_value(self, event: Any, loc: Loc) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._read_alias(event)
        before = self._count
        self._grow(1, event)
        if isinstance(event, yaml.ScalarEvent):
            value = self._read_scalar(event, loc)
        else:
            value = self._read_collection(event, loc)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._count - before)
            self._unused[event.anchor] = loc
        return value

    def _add_unused_anchors(self) -> None:
        """Take an anchor that nothing refers to for the first word of a text that lacks its quotes."""
        for anchor, loc in self._unused.items():
            self._cuts[loc] = f"begins with {shown(f'&{anchor}')}, which YAML does not read as text"

    def _grow(self, by: int, event: Any) -> None:
        self._count += by
        if self._count > _MOST_VALUES:
            raise _fatal(f"holds too much (at most {_MOST_VALUES:,} keys and values)", event)

    def _read_alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            raise _fatal(
                "has a value that begins with '*' and refers to nothing (if it is a text, put the text in quotes)",
                event,
            )
        self._unused.pop(event.anchor, None)
        value, weight = self._anchors[event.anchor]
        self._grow(weight, event)
        self._repeated += weight
        if self._repeated > _MOST_REPEATED:
            raise _fatal(f"repeats too much by its aliases (at most {_MOST_REPEATED:,} keys and values)", event)
        return value

    def _read_scalar(self, event: Any, loc: Loc) -> Any:
        value = event.value
        self._grow(len(value) // _CHARACTERS_PER_VALUE, event)
        if event.tag is not None:
            self._refuse_tag(event, loc)
        elif event.implicit[0]:
            self._add_cut(event, loc)
            match = _CORE_SCHEMA.fullmatch(value)
            if match is not None:
                return _READERS[match.lastgroup](value)
        self._check_text(value, loc, event.start_mark.index)
        return value

    def _add_cut(self, event: Any, loc: Loc) -> None:
        content, end = self._text.content, event.end_mark.index
        # Most values end their line, so nearly always one look is enough.
        if content[end : end + 1] in {" ", "\t"}:
            line = content[end : end + 200].splitlines()[0].lstrip()
            if line.startswith("#"):
                self._cuts[loc] = f"ends before {shown(line.split(maxsplit=1)[0])}, which YAML reads as a comment"

    def _read_collection(self, event: Any, loc: Loc) -> Any:
        if len(loc) >= _DEEPEST:
            raise _fatal(f"is nested too deeply (at most {_DEEPEST} levels)", event)
        if event.tag is not None:
            self._refuse_tag(event, loc)
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        return self._read_mapping(loc) if is_mapping else self._read_sequence(loc)

    def _read_sequence(self, loc: Loc) -> Sequence:
        sequence = Sequence()
        while not isinstance(event := self._next_event(), yaml.SequenceEndEvent):
            self._at = (*loc, len(sequence))
            sequence.append(self._read_value(event, self._at))
            sequence.marks.append(event.start_mark.index)
        return sequence

    def _read_mapping(self, loc: Loc) -> Mapping:
        mapping, merges = Mapping(), []
        while not self._has_stopped and not isinstance(event := self._next_event(), yaml.MappingEndEvent):
            key = self._read_key(event, loc)
            place = (*loc, key)
            self._at = place if key else loc
            value_event = self._next_event()
            value = self._read_value(value_event, place)
            marks = (event.start_mark.index, value_event.start_mark.index)
            if key == _MERGE and event.implicit[0]:
                merges.append((value, marks[0]))
            elif key in mapping:
                self._refuse_repetition(mapping, place, marks[0])
            elif key:
                mapping[key] = value
                mapping.marks[key] = marks
            if place == (self._last_key,):
                self._stop()
        for value, offset in merges:
            self._merge(
                value,
                mapping,
                Fault((*loc, _MERGE), "merges something without keys (refer to a group of keys)", offset),
            )
        return mapping

    def _stop(self) -> None:
        # The parser complains of the rest of a line, as in `name: May: sale`, with what follows only.
        self._next_event()
        self._has_stopped = True

    def _read_key(self, event: Any, loc: Loc) -> str:
        """Read a key as text, whatever YAML would make of it; one that is no text is refused, and read as empty."""
        self._grow(1, event)
        offset = event.start_mark.index
        if not isinstance(event, yaml.ScalarEvent) or not event.value:
            if not isinstance(event, yaml.ScalarEvent):
                self._read_value(event, (*loc, ""))
            what = "has a key that is not plain text (if this is part of a text, put the text in quotes)"
            self._add_fault(Fault(loc, what, offset))
            return ""
        if len(event.value) > _LONGEST_KEY:
            most = f"at most {_LONGEST_KEY:,}; if it is a text, put it in quotes"
            what = f"has a key of {len(event.value):,} characters ({most})"
            self._add_fault(Fault(loc, what, offset))
            return ""
        key = normalize("NFC", event.value)
        place = (*loc, key)
        if names_credential(key, is_free_name=loc in _FREE_NAMES):
            self._refuse_credential(place, offset)
        self._check_text(key, place, offset)
        return key

    def _refuse_repetition(self, mapping: Mapping, place: Loc, offset: int) -> None:
        line = self._text.find_position(mapping.marks[str(place[-1])][0]).line
        what = f"is here a second time, first on line {line} (remove one of the two, or rename it)"
        self._add_fault(Fault(place, what, offset))

    def _merge(self, value: Any, mapping: Mapping, refusal: Fault) -> None:
        for source in value if isinstance(value, Sequence) else [value]:
            if not isinstance(source, Mapping):
                self._add_fault(refusal)
                continue
            for key in source:
                if key not in mapping:
                    mapping[key] = source[key]
                    mapping.marks[key] = source.marks[key]

    def _add_fault(self, fault: Fault) -> None:
        if fault.is_secret or len(self._faults) <= MOST_FAULTS:
            self._faults.append(fault)

    def _refuse_tag(self, event: Any, loc: Loc) -> None:
        if event.tag not in _TEXT_TAGS or not isinstance(event, yaml.ScalarEvent):
            what = (
                f"has the tag {shown(event.tag)}, which a manifest cannot use (if it is a text, put the text in quotes)"
            )
            self._add_fault(Fault(loc, what, event.start_mark.index))

    def _check_text(self, text: str, loc: Loc, offset: int) -> None:
        if holds_credential(text):
            self._refuse_credential(loc, offset)
        if what := describe_unsafe(text):
            self._add_fault(Fault(loc, what, offset))

    def _refuse_credential(self, loc: Loc, offset: int) -> None:
        if loc not in self._secrets:
            self._secrets.add(loc)
            self._add_fault(Fault(loc, WHY_REFUSED, offset, is_secret=True))


def _fatal(what: str, event: Any) -> _FatalFaultError:
    return _FatalFaultError(Fault((), what, event.start_mark.index))
