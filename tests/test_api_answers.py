"""Answers of the API as the protocol's types."""

from __future__ import annotations

import pytest

from hedra_batch import errors
from hedra_batch.api.protocol import Phase
from hedra_batch.api.v2.answers import (
    read_acceptance,
    read_asset_links,
    read_balance,
    read_generation,
    read_generations,
    read_models,
)
from hedra_batch.decide import Deduplication, may_retry
from hedra_batch.money import Money
from hedra_batch.state import State


@pytest.mark.parametrize("answer", [[], "text", None, {}, {"id": 5}, {"id": ""}, {"id": None, "status": "queued"}])
def test_a_submission_without_an_id_is_garbled(answer: object) -> None:
    with pytest.raises(errors.GarbledError):
        read_acceptance(answer, None, "g1")


def test_numbers_that_are_none_are_taken_as_absent() -> None:
    answer = {"id": "A", "status": "queued", "progress": float("nan"), "eta_sec": 10**400, "credit_cost": True}
    generation = read_generation(answer)
    assert (generation.remote_id, generation.progress, generation.eta_seconds) == ("a", 0.0, None)
    assert generation.charged is None


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"error": {"type": "INTERNAL", "message": "m"}}, "internal", "m"),
        ({"error_message": "m"}, None, "m"),
        ({"error": {"type": "X_Y"}, "error_message": "m"}, "x_y", "m"),
        ({"error": "m"}, None, "m"),
        ({"error": {"type": "MODERATION_FAILED", "reason_code": "MODERATION_LIKENESS"}}, "moderation_likeness", None),
        ({"error": {"type": "INTERNAL", "reason_code": "NEWS", "message": "m"}}, "internal", "m (NEWS)"),
        ({"error": {"type": "INTERNAL", "reason_code": "NEWS"}}, "internal", "no message (NEWS)"),
        ({}, None, None),
    ],
)
def test_an_error_is_read_from_either_place(fields: dict[str, object], code: str | None, message: str | None) -> None:
    generation = read_generation({"id": "a", "status": "error", **fields})
    assert (generation.error_code, generation.error) == (code, message)


def test_the_link_is_a_file_and_never_a_stream() -> None:
    answer = {"id": "a", "status": "complete", "streaming_url": "https://s", "asset": {"asset": {"url": "https://u"}}}
    assert read_generation(answer).link == "https://u"


def test_a_link_is_in_no_repr() -> None:
    generation = read_generation({"id": "a", "status": "complete", "download_url": "https://x/y?Signature=secret"})
    assert "secret" not in repr(generation)


def test_an_item_that_cannot_be_read_leaves_the_others_alone() -> None:
    read = read_generations({"data": [{"id": "a", "status": "queued"}, {"id": None}, 7]})
    assert [generation.remote_id for generation in read] == ["a"]


@pytest.mark.parametrize("answer", [{}, {"data": {}}, {"data": [1]}])
def test_a_list_without_items_is_garbled(answer: object) -> None:
    with pytest.raises(errors.GarbledError):
        read_generations(answer)


def test_models_without_a_list_are_garbled() -> None:
    with pytest.raises(errors.GarbledError):
        read_models({"models": []})


@pytest.mark.parametrize(("answered", "shown"), [("G1", Deduplication.PROVEN), ("other", Deduplication.NONE)])
def test_the_id_of_an_acceptance_shows_whether_ours_is_used(answered: str, shown: Deduplication) -> None:
    assert read_acceptance({"id": answered}, None, "g1").deduplication is shown


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ("complete", Phase.COMPLETE),
        ("error", Phase.FAILED),
        ("queued", Phase.RUNNING),
        ("not published", Phase.RUNNING),
        ("Complete", Phase.COMPLETE),
        ("COMPLETED", Phase.COMPLETE),
        ("succeeded", Phase.COMPLETE),
        ("Success", Phase.COMPLETE),
        ("ERROR", Phase.FAILED),
        ("failed", Phase.FAILED),
        ("canceled", Phase.FAILED),
        ("Cancelled", Phase.FAILED),
        ("expired", Phase.FAILED),
        ("Processing", Phase.RUNNING),
    ],
)
def test_any_status_that_is_no_end_is_still_running(status: str, phase: Phase) -> None:
    assert read_generation({"id": "a", "status": status}).phase is phase


def test_money_is_a_whole_number_of_credits() -> None:
    assert read_generation({"id": "a", "status": "complete", "credit_cost": 35}).charged == Money(35, "credits")
    assert read_balance({"remaining": 7}) == Money(7, "credits")
    assert read_balance({"remaining": "lots"}) is None
    # An account that is overdrawn has nothing left.
    assert read_balance({"remaining": -35}) == Money(0)
    pool = {"a": {"api_credits": 50}, "b": {"api_credits": -5}}
    assert read_balance({"remaining": 7, "workspace_credit_pool": pool}) == Money(50)


def test_an_asset_without_a_link_is_told_from_one_that_is_not_there() -> None:
    answer = [{"id": "a", "asset": {"download_url": "https://x/a.mp4"}}, {"id": "b", "asset": {}}]
    assert read_asset_links(answer).links == {"a": ["https://x/a.mp4"], "b": []}


@pytest.mark.parametrize("spoilt", [None, 7, "text", [], {}, {"id": None}, {"id": 7}, {"asset": {"url": "https://x"}}])
def test_an_item_that_cannot_be_read_spoils_no_other_of_any_list(spoilt: object) -> None:
    model, item = {"slug": "m", "id": None, "name": None}, {"id": "a", "status": "queued", "error": 7, "asset": []}
    assert [each.slug for each in read_models([spoilt, model, spoilt])] == ["m"]
    assert [each.remote_id for each in read_generations({"data": [spoilt, item, spoilt]})] == ["a"]
    assert read_asset_links([spoilt, {"id": "A", "asset": None}]) == ({"a": []}, 2)


@pytest.mark.parametrize("word", ["failed", "canceled", "cancelled", "Expired", "FAILED"])
@pytest.mark.parametrize("error", [None, {"type": "INTERNAL"}, {"type": "UNAVAILABLE", "message": "m"}])
def test_what_ended_under_a_word_that_is_not_published_begins_no_attempt_by_itself(word: str, error: object) -> None:
    reading = read_generation({"id": "a", "status": word, "error": error})
    assert reading.error_code == word.lower()
    assert not may_retry(State.FAILED, reading.error_code, 1, 2)


@pytest.mark.parametrize("word", ["error", "Error", "failed"])
def test_a_clear_reason_is_kept_whatever_the_word(word: str) -> None:
    error = {"type": "MODERATION_FAILED", "message": "No"}
    assert read_generation({"id": "a", "status": word, "error": error}).error_code == "moderation_failed"


@pytest.mark.parametrize(
    ("fields", "phase"),
    [
        ({"progress": 1}, Phase.COMPLETE),
        ({"progress": 1.0}, Phase.COMPLETE),
        ({"asset": {"id": "b"}}, Phase.COMPLETE),
        ({"progress": 0.99}, Phase.RUNNING),
        ({"progress": 0.5, "asset": None, "asset_id": "b"}, Phase.RUNNING),
        ({}, Phase.RUNNING),
    ],
)
def test_a_link_under_an_unknown_word_counts_at_the_end_or_with_an_asset(
    fields: dict[str, object], phase: Phase
) -> None:
    reading = read_generation({"id": "a", "status": "Polishing", "download_url": "https://x/a.mp4", **fields})
    assert (reading.phase, reading.link is not None, reading.unknown_word) == (
        phase,
        phase is Phase.COMPLETE,
        "polishing",
    )


def test_an_unknown_word_without_a_link_is_followed_also_at_its_end() -> None:
    assert read_generation({"id": "a", "status": "polishing", "progress": 1}).phase is Phase.RUNNING


def test_the_error_of_a_generation_names_fields_and_credits() -> None:
    error = {"type": "INSUFFICIENT_BALANCE", "message": "No.", "credits_needed": 35, "credits_available": 3}
    reading = read_generation({"id": "a", "status": "error", "error": error})
    assert reading.error == "No (credits needed: 35; credits available: 3)"
