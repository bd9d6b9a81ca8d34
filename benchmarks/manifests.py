"""The manifests that are run: text to video, and the large matrix of prompts and images."""

from __future__ import annotations

from pathlib import Path

_HEAD = """\
version: 1
name: {name}
limits: {limits}
defaults: {{model: {model}, aspect_ratio: 16:9, resolution: 720p, duration: 5s}}
"""
#: A rate that no machine reaches.
UNLIMITED = "10000/s"


def write_texts(
    folder: Path, jobs: int, *, in_flight: int, submit: str = UNLIMITED, poll: str = "10/s", downloads: int = 16
) -> Path:
    """Write a manifest that makes so many videos from texts alone."""
    limits = f"{{submit: {submit}, in_flight: {in_flight}, downloads: {downloads}, poll: {poll}}}"
    head = _HEAD.format(name="texts", limits=limits, model="fal/grok-video-t2v")
    prompts = (f"  - A scene number {n} with a long enough text to be like a real one\n" for n in range(jobs))
    return _write(folder / "texts.yaml", head + "prompts:\n" + "".join(prompts))


def write_jobs(folder: Path, jobs: int) -> Path:
    """Write a manifest of single jobs, with the limits that are taken where none are written."""
    scenes = (f"  - {{id: scene-{n}, prompt: The scene number {n} comes to life}}\n" for n in range(jobs))
    head = _HEAD.format(name="jobs", limits="{}", model="fal/grok-video-t2v")
    return _write(folder / "jobs.yaml", head + "jobs:\n" + "".join(scenes))


def write_matrix(folder: Path, prompts: int, images: int, *, in_flight: int, submit: str = UNLIMITED) -> Path:
    """Write a manifest of every prompt with every image; the server fetches the images itself."""
    limits = f"{{submit: {submit}, in_flight: {in_flight}, downloads: 16, poll: 10/s}}"
    head = _HEAD.format(name="matrix", limits=limits, model="fal/grok-video-i2v")
    scenes = (f"  p{n}: The scene number {n} comes to life with gentle movement\n" for n in range(prompts))
    links = (f"  i{n}: https://images.example.com/products/{n}/front.jpg\n" for n in range(images))
    return _write(folder / "matrix.yaml", head + "prompts:\n" + "".join(scenes) + "images:\n" + "".join(links))


def _write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path
