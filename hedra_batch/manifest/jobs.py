"""The jobs of a manifest, each made at the moment when it is asked for: a large batch has more than should be held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hedra_batch.inputs import Inputs, MediaInput
from hedra_batch.job import Job
from hedra_batch.manifest.specs import JobSpec


@dataclass(frozen=True, slots=True)
class Jobs:
    """Every variation of every job, in the order of the manifest; to iterate again makes them again."""

    edition: str
    _drafts: Mapping[str, JobSpec]
    _outputs: Mapping[str, str]
    _images: Mapping[str, MediaInput]

    def __len__(self) -> int:
        return len(self._drafts)

    def __iter__(self) -> Iterator[Job]:
        drafted: JobSpec | None = None
        for job_id, draft in self._drafts.items():
            if draft is not drafted:
                # Its variations follow one another and share what they ask for.
                drafted, inputs = draft, self._make_inputs(draft)
            yield self._make(job_id, draft, inputs)

    def find(self, job_id: str) -> Job | None:
        """Find a job by its id."""
        draft = self._drafts.get(job_id)
        return self._make(job_id, draft, self._make_inputs(draft)) if draft else None

    def outputs(self) -> Iterator[tuple[str, str]]:
        """Yield the id of each job and where its video goes."""
        return iter(self._outputs.items())

    def _make(self, job_id: str, draft: JobSpec, inputs: Inputs) -> Job:
        return Job(job_id, self.edition, inputs, self._outputs[job_id], draft.prompt_id, draft.image_id)

    def _make_inputs(self, draft: JobSpec) -> Inputs:
        settings = draft.settings
        return Inputs(
            prompt=draft.prompt,
            model=settings.model or None,
            image=self._images.get(draft.image),
            end_image=self._images.get(settings.end_image),
            aspect_ratio=settings.aspect_ratio or None,
            resolution=settings.resolution or None,
            duration_ms=settings.duration_ms or None,
        )
