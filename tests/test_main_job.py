"""The main job from a manifest to files, with the real command against the simulated API."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing

from conftest import Desk, wait_until

from hedra_batch.simulator.service import Simulator

MATRIX = """
defaults: {model: fal/grok-video-i2v, aspect_ratio: 16:9, resolution: 540p, duration: 5s}
prompts: {gentle: Gentle movement, storm: A storm gathers}
images: {hero: hero.png, dawn: dawn.png, night: night.png}
jobs:
  - {id: market, model: fal/grok-video-t2v, prompt: A busy market}
  - {id: harbour, model: fal/grok-video-t2v, prompt: A quiet harbour}
"""


def write_matrix(desk: Desk) -> None:
    desk.write_manifest(MATRIX)
    for shade, name in enumerate(("hero.png", "dawn.png", "night.png")):
        desk.add_image(name, shade)


def count_posts(simulator: Simulator, ending: str = "") -> int:
    return sum(1 for request in simulator.requests if request.method == "POST" and request.path.endswith(ending))


def count_charges(simulator: Simulator) -> int:
    return sum(1 for record in simulator.billing if record.kind == "charge")


def read_body(desk: Desk) -> bytes:
    """Read the bytes of the one request that was sent."""
    with closing(sqlite3.connect(desk.folder / "batch.out" / "ledger.sqlite3")) as connection:
        [[body]] = connection.execute("SELECT body FROM attempts").fetchall()
    return bytes(body)


def list_videos(desk: Desk, folder: str = "batch.out") -> list[str]:
    videos = desk.folder / folder / "videos"
    return sorted(path.relative_to(videos).as_posix() for path in videos.rglob("*") if path.is_file())


async def test_a_matrix_becomes_eight_paid_generations_three_uploads_and_eight_files(
    desk: Desk, simulator: Simulator
) -> None:
    write_matrix(desk)
    finished = await desk.call("run", "batch.yaml")
    assert finished.last_line == "batch: done=8 failed=0 running=0 held=0 exit=0 -> batch.out/videos"
    assert (count_charges(simulator), count_posts(simulator, "/upload"), len(list_videos(desk))) == (8, 3, 8)


async def test_the_same_line_again_sends_nothing(desk: Desk, simulator: Simulator) -> None:
    write_matrix(desk)
    await desk.run_here()
    before = len(simulator.requests)
    finished = await desk.call("run", "batch.yaml")
    assert (finished.code, len(simulator.requests) - before) == (0, 0)
    assert "nothing to do" in finished.err


async def test_another_edition_makes_new_videos_from_the_same_uploads(desk: Desk, simulator: Simulator) -> None:
    write_matrix(desk)
    await desk.run_here()
    finished = await desk.call("run", "batch.yaml", "--edition", "b")
    assert finished.code == 0
    assert (count_charges(simulator), count_posts(simulator, "/upload")) == (16, 3)
    assert [name for name in list_videos(desk) if name.startswith("b/")][:1] == ["b/dawn--gentle.mp4"]


async def test_the_same_image_under_two_names_is_uploaded_once(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest("images: {one: one.png, two: two.png}\ndefaults: {prompt: Move, model: fal/grok-video-i2v}")
    desk.add_image("one.png", 7)
    desk.add_image("two.png", 7)
    assert await desk.run_here() == 0
    assert (count_posts(simulator, "/upload"), count_charges(simulator)) == (1, 2)


async def test_after_kill_9_the_same_line_ends_with_one_charge_a_job(desk: Desk, simulator: Simulator) -> None:
    jobs = "\n".join(f"  - {{id: job-{number}, prompt: Scene {number}}}" for number in range(20))
    desk.write_manifest(f"jobs:\n{jobs}")
    process = await desk.start("run", "batch.yaml")
    await wait_until(lambda: count_charges(simulator) >= 8)
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    finished = await desk.call("run", "batch.yaml", "--quiet-window", "100ms")
    assert finished.last_line.startswith("batch: done=20 failed=0 running=0 held=0 exit=0")
    assert (count_charges(simulator), len(list_videos(desk))) == (20, 20)
    assert len({record.generation_id for record in simulator.billing}) == 20


async def test_a_trial_goes_on_where_it_was_killed(desk: Desk) -> None:
    desk.write_manifest("defaults: {duration: 5s}\njobs: [{id: a, prompt: One}, {id: b, prompt: Two}]")
    process = await desk.start("run", "batch.yaml", "--simulate")
    billing = desk.folder / "batch.sim" / "simulator" / "billing.jsonl"
    await wait_until(lambda: billing.exists() and len(billing.read_text().splitlines()) == 2)
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    finished = await desk.call("run", "batch.yaml", "--simulate", "--quiet-window", "100ms")
    assert (finished.code, list_videos(desk, "batch.sim")) == (0, ["a.mp4", "b.mp4"])
    assert len(billing.read_text().splitlines()) == 2


async def test_failed_jobs_stay_failed_and_retry_pays_for_just_those(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(
        "jobs:\n  - {id: good, prompt: A scene}\n  - {id: bad, prompt: Something forbidden}\n"
        "  - {id: odd, prompt: Something invalid}\n  - {id: flaky, prompt: A flaky scene}\nattempts: 1"
    )
    first = await desk.call("run", "batch.yaml")
    assert first.last_line.startswith("batch: done=1 failed=3 running=0 held=0 exit=1")
    again = await desk.call("run", "batch.yaml")
    assert (again.code, count_posts(simulator, "/generations")) == (1, 4)
    retried = await desk.call("retry", "batch.yaml")
    assert (retried.code, count_posts(simulator, "/generations")) == (1, 7)
    assert sorted(list_videos(desk)) == ["flaky.mp4", "good.mp4"]


async def test_retry_takes_an_error_code(desk: Desk, simulator: Simulator) -> None:
    jobs = "jobs:\n  - {id: bad, prompt: Something forbidden}\n  - {id: flaky, prompt: A flaky scene}"
    desk.write_manifest(f"{jobs}\nattempts: 1")
    await desk.run_here()
    retried = await desk.call("retry", "batch.yaml", "--error", "internal")
    assert (retried.code, count_posts(simulator, "/generations")) == (0, 3)


async def test_a_failure_is_named_with_its_code_and_the_command_that_settles_it(desk: Desk) -> None:
    desk.write_manifest("jobs:\n  - {id: flaky, prompt: A flaky scene}\nattempts: 1")
    finished = await desk.call("run", "batch.yaml")
    assert "  flaky: the service broke down over it (internal): The model failed" in finished.err
    assert "      hedra-batch retry batch.yaml --id flaky" in finished.err


async def test_a_failure_whose_reason_may_pass_gets_another_attempt_by_itself(desk: Desk, simulator: Simulator) -> None:
    jobs = "jobs:\n  - {id: flaky, prompt: A flaky scene}\n  - {id: doomed, prompt: A doomed scene}"
    desk.write_manifest(f"{jobs}\n  - {{id: likeness, prompt: A likeness of somebody}}")
    assert (await desk.run_here(), count_charges(simulator)) == (1, 5)
    assert (await desk.run_here(), list_videos(desk), count_charges(simulator)) == (1, ["flaky.mp4"], 5)


async def test_every_attempt_stays_in_the_ledger(desk: Desk) -> None:
    desk.write_manifest("jobs:\n  - {id: flaky, prompt: A flaky scene}")
    await desk.run_here()
    rows = [json.loads(line) for line in (await desk.call("results", "batch.yaml", "--attempts")).out.splitlines()]
    assert [(row["attempt"], row["state"]) for row in rows] == [(1, "failed"), (2, "done")]


async def test_an_edited_failed_job_is_new_work(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest("jobs:\n  - {id: bad, prompt: Something forbidden}")
    await desk.run_here()
    desk.write_manifest("jobs:\n  - {id: bad, prompt: Something allowed}")
    assert (await desk.run_here(), count_charges(simulator)) == (0, 1)


async def test_a_failed_job_that_left_the_manifest_no_longer_counts(desk: Desk) -> None:
    desk.write_manifest("jobs:\n  - {id: bad, prompt: Something forbidden}\n  - {id: good, prompt: A scene}")
    await desk.run_here()
    desk.write_manifest("jobs:\n  - {id: good, prompt: A scene}")
    assert await desk.run_here() == 0


async def test_a_paid_job_that_was_edited_is_not_bought_again_in_silence(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest("jobs:\n  - {id: scene, prompt: A calm sea, duration: 5s}\n  - {id: b, prompt: New soon}")
    await desk.run_here(ids=("scene",))
    desk.write_manifest("jobs:\n  - {id: scene, prompt: A wild sea, duration: 10s}\n  - {id: b, prompt: New soon}")
    finished = await desk.call("run", "batch.yaml")
    assert (finished.code, count_charges(simulator), list_videos(desk)) == (4, 2, ["b.mp4", "scene.mp4"])
    assert "scene: prompt 'A calm sea' -> 'A wild sea'; duration_ms '5000' -> '10000'" in finished.err
    assert "hedra-batch run batch.yaml --id scene --rebuy-changed" in finished.err


async def test_a_changed_job_bought_anew_leaves_the_first_file_alone(desk: Desk) -> None:
    desk.write_manifest("jobs: [{id: scene, prompt: A calm sea}]")
    await desk.run_here()
    first = (desk.folder / "batch.out/videos/scene.mp4").read_bytes()
    desk.write_manifest("jobs: [{id: scene, prompt: A wild sea}]")
    assert (await desk.run_here(rebuys_changed=True), list_videos(desk)) == (0, ["scene.mp4", "scene.take2.mp4"])
    assert (desk.folder / "batch.out/videos/scene.mp4").read_bytes() == first


async def test_what_is_not_selected_stays_untouched_and_out_of_the_exit_code(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest("jobs:\n  - {id: bad, prompt: Something forbidden}\n  - {id: good, prompt: A scene}")
    assert (await desk.run_here(ids=("g*",)), count_posts(simulator, "/generations")) == (0, 1)


async def test_first_n_takes_the_first_of_the_manifest(desk: Desk) -> None:
    write_matrix(desk)
    assert (await desk.run_here(first=2), list_videos(desk)) == (0, ["hero--gentle.mp4", "hero--storm.mp4"])


async def test_raising_variations_buys_only_the_new_ones(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest("jobs: [{id: market, prompt: A market}]")
    await desk.run_here()
    desk.write_manifest("jobs: [{id: market, prompt: A market, variations: 3}]")
    assert (await desk.run_here(), count_charges(simulator)) == (0, 3)
    assert list_videos(desk) == ["market.mp4", "market.v2.mp4", "market.v3.mp4"]


async def test_what_to_avoid_and_a_seed_reach_the_service_and_an_edit_of_them_is_noticed(desk: Desk) -> None:
    job = "jobs: [{id: calm, prompt: A calm sea, negative_prompt: ships, seed: 7}]"
    desk.write_manifest(job)
    await desk.run_here()
    body = json.loads(read_body(desk))
    inputs = body["generated_video_inputs"]
    assert inputs == {"text_prompt": "A calm sea", "negative_prompt": "ships", "seed": 7}
    desk.write_manifest(job.replace("ships", "birds").replace("7", "8"))
    edited = await desk.call("run", "batch.yaml")
    assert (edited.code, "negative_prompt 'ships' -> 'birds'; seed '7' -> '8'" in edited.err) == (4, True)


async def test_a_vanished_asset_is_uploaded_again(desk: Desk, simulator: Simulator) -> None:
    write_matrix(desk)
    await desk.run_here(ids=("hero--gentle",))
    simulator.forget_assets()
    code = await desk.run_here(ids=("hero--*",))
    assert (code, count_posts(simulator, "/upload"), count_charges(simulator)) == (0, 2, 2)


async def test_jobs_that_left_the_manifest_are_still_followed_and_fetched(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest("jobs:\n  - {id: old, prompt: An endless scene}\n  - {id: gone, prompt: A scene}")
    process = await desk.start("run", "batch.yaml")
    await wait_until(lambda: count_charges(simulator) == 2)
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    desk.write_manifest("jobs:\n  - {id: new, prompt: A new scene}")
    again = await desk.start("run", "batch.yaml", "--quiet-window", "100ms")
    await wait_until(lambda: list_videos(desk) == ["gone.mp4", "new.mp4"])
    again.terminate()
    _, err = await again.communicate()
    assert "balance 9,930, 2 left the manifest\n" in err.decode()
    assert again.returncode == 143
