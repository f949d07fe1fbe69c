"""Fine-tuning at the simulated provider: OpenAI's own client, ours, and what a tuned model has learned."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from features.world.llm.models import true_quality
from features.world.llm.offers import MODELS
from features.world.llm.task import drawn_from
from features.world.llm.tasks import draw
from gateway.call.providers.http import Http
from gateway.call.providers.openai_tuning import OpenAITuning
from gateway.call.providers.wire import Provider, ProviderFailure
from gateway.simulated.asked import Refused
from gateway.simulated.bill import Bill
from gateway.simulated.models import ServedModels
from gateway.simulated.tuning import Tuning


def examples(count: int, *, right: bool = True, domain: str = "writing") -> bytes:
    """Examples of a domain, whose answers say all that was to be said, or nothing of it."""
    lines = []
    rng = drawn_from("examples", domain)
    for number in range(count):
        task = draw(rng, domain, "moderate")
        said = f"{task.topic}: " + " ".join(f"It speaks of {part}." for part in task.parts) if right else "No idea."
        asked = {"role": "user", "content": task.prompt}
        lines.append(json.dumps({"messages": [asked, {"role": "assistant", "content": f"{said} ({number})"}]}))
    return "\n".join(lines).encode()


@pytest.fixture
def client(simulator: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=simulator.openai, api_key="none", max_retries=0, timeout=20) as made:
        yield made


def test_the_openai_client_tunes_a_model_and_asks_it(client: openai.OpenAI, simulator: Any) -> None:
    content = examples(40)
    file = client.files.create(file=("train.jsonl", io.BytesIO(content)), purpose="fine-tune")
    assert (file.bytes, file.purpose) == (len(content), "fine-tune")
    assert client.files.content(file.id).read() == content
    method: Any = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}}
    job = client.fine_tuning.jobs.create(
        model="small", training_file=file.id, suffix="letters", seed=1, method=method, metadata={"of": "test"}
    )
    assert job.object == "fine_tuning.job"
    job = client.fine_tuning.jobs.retrieve(job.id)
    assert (job.status, job.hyperparameters.n_epochs) == ("succeeded", 3)
    assert job.trained_tokens
    assert job.fine_tuned_model
    assert job.fine_tuned_model.startswith("ft:small:merit:letters:")
    told = [one.message for one in client.fine_tuning.jobs.list_events(job.id, limit=5)]  # over several pages
    assert told[0] == "The job has successfully completed"
    assert told[-1] == f"Created fine-tuning job: {job.id}"
    points = list(client.fine_tuning.jobs.checkpoints.list(job.id))
    assert [one.step_number for one in points] == [120, 80, 40]
    assert points[0].metrics.train_loss < points[-1].metrics.train_loss  # type: ignore[operator]
    assert [one.id for one in client.fine_tuning.jobs.list(metadata={"of": "test"})] == [job.id]
    assert list(client.fine_tuning.jobs.list(metadata={"of": "another"})) == []
    # It answers, and training was charged for: 3 dollars per million tokens.
    client.chat.completions.create(model=job.fine_tuned_model, messages=[{"role": "user", "content": "Hello"}])
    charges = simulator.bill()["charges"]
    assert [one["cost"] for one in charges if one["id"] == job.id] == [job.trained_tokens * 3_000]
    assert client.models.delete(job.fine_tuned_model).deleted
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model=job.fine_tuned_model, messages=[{"role": "user", "content": "Hello"}])


def test_files_that_are_no_good_fail_the_job_and_wrong_requests_are_refused(client: openai.OpenAI) -> None:
    for content, code in ((examples(9), "invalid_n_examples"), (b'{"messages": []}\n' * 12, "invalid_file_format")):
        file = client.files.create(file=("few.jsonl", io.BytesIO(content)), purpose="fine-tune")
        job = client.fine_tuning.jobs.create(model="small", training_file=file.id)
        job = client.fine_tuning.jobs.retrieve(job.id)
        assert (job.status, job.error.code if job.error else None) == ("failed", code)
        assert client.files.delete(file.id).deleted
    with pytest.raises(openai.BadRequestError, match="not available for fine-tuning"):
        client.fine_tuning.jobs.create(model="large", training_file="file-1")
    with pytest.raises(openai.NotFoundError, match="No such File"):
        client.fine_tuning.jobs.create(model="small", training_file="file-1")
    with pytest.raises(openai.NotFoundError, match="Could not find fine tune"):
        client.fine_tuning.jobs.retrieve("ftjob-1")


def test_our_client_speaks_the_same(simulator: Any) -> None:
    simulator.speed(0.001)  # a job takes hours
    provider = Provider("simulated", "openai", simulator.openai, local=True)

    async def work() -> None:
        http = Http()
        tuning = OpenAITuning(http)
        try:
            file = await tuning.upload(provider, "train.jsonl", examples(12))
            job = await tuning.create(
                provider, model="nano", training_file=file, validation_file=file, suffix="x", epochs=2, seed=3,
                metadata={"merit_finetune": "abc"},
            )  # fmt: skip
            assert (job.status, job.model, job.ended) == ("validating_files", None, False)
            found = await tuning.find(provider, "merit_finetune", "abc")
            assert found is not None
            assert found.id == job.id
            assert await tuning.find(provider, "merit_finetune", "abd") is None
            first = await tuning.events(provider, job.id)
            assert first[0].message == f"Created fine-tuning job: {job.id}"
            assert await tuning.events(provider, job.id, frozenset(one.id for one in first)) == []
            assert (await tuning.cancel(provider, job.id)).status == "cancelled"
            assert (await tuning.cancel(provider, job.id)).status == "cancelled"  # it is so already
            assert await tuning.checkpoints(provider, job.id) == []
            await tuning.remove_file(provider, file)
            await tuning.remove_file(provider, file)
            with pytest.raises(ProviderFailure, match="Could not find fine tune"):
                await tuning.job(provider, "ftjob-0")
        finally:
            await http.close()

    asyncio.run(work())


class Clock:
    """Seconds that pass when they are told to."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def desk(tmp_path: Path, clock: Clock) -> tuple[Tuning, ServedModels]:
    models = ServedModels()
    return Tuning(models, Bill(), lambda: 1.0, clock, tmp_path), models


def test_a_job_takes_its_time_and_outlives_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    tuning, _ = desk(tmp_path, clock)
    file = tuning.upload("a.jsonl", "fine-tune", examples(30))["id"]
    job_id = tuning.create({"model": "small", "training_file": file, "seed": 5})["id"]
    seen = []
    for seconds in (0, 3, 4, 600):
        clock.now = 1_000.0 + seconds
        seen.append(tuning.told(tuning.job(job_id))["status"])
    assert seen == ["validating_files", "queued", "queued", "succeeded"]
    name = tuning.job(job_id).tuned_model
    again, models = desk(tmp_path, clock)
    assert models.find("simulated", name).id == f"simulated/{name}"
    with pytest.raises(Refused, match="has ended"):
        again.cancel(job_id)


def test_good_examples_teach_their_domain_and_bad_ones_spoil_it(tmp_path: Path) -> None:
    quality: dict[str, tuple[float, float]] = {}
    for name, right in (("good", True), ("bad", False)):
        clock = Clock()
        tuning, models = desk(tmp_path / name, clock)
        file = tuning.upload("a.jsonl", "fine-tune", examples(60, right=right))["id"]
        job = tuning.create({"model": "small", "training_file": file, "seed": 5})["id"]
        clock.now += 10_000
        tuned = models.find("simulated", tuning.job(job).tuned_model)
        quality[name] = (true_quality(tuned, "writing", "moderate"), true_quality(tuned, "math", "moderate"))
        assert tuned.input == 1.5 * MODELS["simulated/small"].input
    base = MODELS["simulated/small"]
    writing, maths = true_quality(base, "writing", "moderate"), true_quality(base, "math", "moderate")
    assert quality["good"][0] > writing + 0.05
    assert quality["bad"][0] < writing - 0.05
    assert maths - 0.05 < quality["good"][1] < maths  # forgotten a little
