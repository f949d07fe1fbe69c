"""Files and fine-tuning jobs of the simulated provider, in OpenAI's shape (`/v1/files`, `/v1/fine_tuning/jobs`).

A job goes through `validating_files`, `queued` and `running` to `succeeded`; where it is follows from the clock alone,
so that nothing runs beside requests. Jobs and the models that they made survive a restart where a folder is given.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from gateway.simulated.asked import Refused, invalid
from gateway.simulated.bill import Bill, Charge
from gateway.simulated.models import ServedModels
from gateway.simulated.tuned import TRAINING_PRICES, Shown, losses, shifts, shown, tuned
from gateway.simulated.tuning_job import ENDED, Job

FEWEST_EXAMPLES = 10
_MOST_BYTES = 512 * 1024 * 1024
# Seconds of each state before speed is divided by; training takes longer the more tokens there are.
_VALIDATING, _QUEUED, _STARTING, _TOKENS_PER_SECOND = 2.0, 4.0, 6.0, 4_000.0


@dataclass
class StoredFile:
    """An uploaded file."""

    id: str
    filename: str
    purpose: str
    created_at: int
    content: bytes = field(repr=False, default=b"")

    def told(self) -> dict[str, Any]:
        shown = {"id": self.id, "object": "file", "bytes": len(self.content), "created_at": self.created_at}
        return {**shown, "filename": self.filename, "purpose": self.purpose, "status": "processed", "expires_at": None}


class Tuning:
    """Files, jobs and what they make.

    Parameters
    ----------
    speed : what seconds are divided by; 0: a job has ended when it is looked at.
    clock : seconds since 1970.
    folder : where jobs and models are kept; None: nowhere.
    """

    def __init__(
        self,
        models: ServedModels,
        bill: Bill,
        speed: Callable[[], float],
        clock: Callable[[], float],
        folder: Path | None,
    ) -> None:
        self._models, self._bill, self._speed, self._clock = models, bill, speed, clock
        self._path = None if folder is None else folder / "tuning.json"
        self.files: dict[str, StoredFile] = {}
        self.jobs: dict[str, Job] = {}
        self._read()

    def clear(self) -> None:
        """As at the start: no file, no job, no tuned model."""
        self.files, self.jobs = {}, {}
        self._write()

    def upload(self, filename: str, purpose: str, content: bytes) -> dict[str, Any]:
        """Keep a file.

        Raises
        ------
        Refused : its purpose is not one, or it is too large.
        """
        if purpose not in ("fine-tune", "batch", "assistants", "user_data", "evals"):
            raise invalid(
                f"{purpose!r} is not one of ['fine-tune', 'assistants', 'batch', 'user_data', 'evals']", "purpose"
            )
        if len(content) > _MOST_BYTES or not content:
            raise invalid("The file is empty or larger than 512 MB.", "file")
        file = StoredFile(f"file-{secrets.token_hex(12)}", filename, purpose, int(self._clock()), content)
        self.files[file.id] = file
        return file.told()

    def file(self, file_id: str) -> StoredFile:
        """A file; raises Refused, 404."""
        if file_id not in self.files:
            raise Refused(404, "invalid_request_error", f"No such File object: {file_id[:80]}", param="id")
        return self.files[file_id]

    def remove_file(self, file_id: str) -> dict[str, Any]:
        """Forget a file."""
        del self.files[self.file(file_id).id]
        return {"id": file_id, "object": "file", "deleted": True}

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Begin a job.

        Raises
        ------
        Refused : the model cannot be tuned, there is no such file, or a hyperparameter lies outside its bounds.
        """
        name = body.get("model")
        if name not in TRAINING_PRICES:
            raise invalid(f"Model {str(name)[:80]!r} is not available for fine-tuning.", "model", "model_not_available")
        suffix = body.get("suffix")
        if suffix is not None and (not isinstance(suffix, str) or not 1 <= len(suffix) <= 64):
            raise invalid("suffix must have 1 to 64 characters.", "suffix")
        metadata = body.get("metadata") or {}
        if (
            not isinstance(metadata, dict)
            or len(metadata) > 16
            or not all(isinstance(v, str) for v in metadata.values())
        ):
            raise invalid("metadata must hold at most 16 pairs of texts.", "metadata")
        training = self.file(str(body.get("training_file")))
        validation = body.get("validation_file")
        seed = body.get("seed")
        job = Job(
            id=f"ftjob-{secrets.token_hex(12)}",
            model=str(name),
            training_file=training.id,
            validation_file=None if validation is None else self.file(str(validation)).id,
            suffix=suffix,
            seed=seed if isinstance(seed, int) else secrets.randbelow(2**31),
            metadata=dict(metadata),
            created=self._clock(),
            hyperparameters=_hyperparameters(body),
        )
        self._plan(job, training)
        self.jobs[job.id] = job
        self._write()
        return self.told(job)

    def job(self, job_id: str) -> Job:
        """A job as it is now; raises Refused, 404."""
        found = self.jobs.get(job_id)
        if found is None:
            message = f"Could not find fine tune: {job_id[:80]}"
            raise Refused(404, "invalid_request_error", message, param="fine_tune_id", code="fine_tune_not_found")
        self.advance()
        return found

    def advance(self) -> None:
        """Serve the models of jobs that have ended since, and charge for them."""
        now = self._clock()
        for job in self.jobs.values():
            if job.done or job.status(now) != "succeeded":
                continue
            job.done = True
            base = self._models.find("simulated", job.model)
            self._models.add(tuned(base, job.tuned_model, job.shift))
            cost = round(job.trained_tokens * TRAINING_PRICES[job.model] * 1_000)
            self._bill.add(Charge(job.id, job.metadata.get("merit_finetune"), f"simulated/{job.model}",
                                  job.trained_tokens, 0, 0, 0, 0, cost, True, now))  # fmt: skip
            self._write()

    def cancel(self, job_id: str) -> dict[str, Any]:
        """End a job before its end; raises Refused where it has ended."""
        job = self.job(job_id)
        if job.status(self._clock()) in ENDED:
            raise invalid(f"Job {job_id} has ended and cannot be cancelled.", code="invalid_request")
        job.cancelled_at = self._clock()
        self._write()
        return self.told(job)

    def told(self, job: Job) -> dict[str, Any]:
        """A job in OpenAI's shape."""
        self.advance()
        return job.told(self._clock())

    def events(self, job: Job) -> list[dict[str, Any]]:
        """What has happened, newest first."""
        return job.events(self._clock())

    def checkpoints(self, job: Job) -> list[dict[str, Any]]:
        """One at the end of each of the last three epochs, newest first, once the job has succeeded."""
        return job.checkpoints(self._clock())

    def remove_model(self, name: str) -> dict[str, Any]:
        """Take a tuned model away; raises Refused where there is none of that name."""
        self.advance()
        if not name.startswith("ft:") or not self._models.remove(f"simulated/{name}"):
            raise Refused(404, "invalid_request_error", f"The model {name[:80]!r} does not exist.", param="model")
        self.jobs = {key: job for key, job in self.jobs.items() if job.tuned_model != name}
        self._write()
        return {"id": name, "object": "model", "deleted": True}

    def _plan(self, job: Job, training: StoredFile) -> None:
        """When what will have ended, and what comes of it."""
        speed = self._speed()
        pace = 1.0 / speed if speed else 0.0
        try:
            examples = _examples(training.content)
        except Refused as refused:
            code = refused.code or "invalid_training_file"
            job.error = {"code": code, "message": refused.message, "param": "training_file"}
            job.ends = (_VALIDATING * pace,) * 3
            return
        given = job.hyperparameters
        epochs = given["n_epochs"] if isinstance(given["n_epochs"], int) else 3
        batch = given["batch_size"] if isinstance(given["batch_size"], int) else max(1, len(examples) // 500)
        rate = given["learning_rate_multiplier"]
        job.hyperparameters = {
            "n_epochs": epochs,
            "batch_size": batch,
            "learning_rate_multiplier": rate if isinstance(rate, int | float) else 1.8,
        }
        job.trained_tokens = epochs * sum(one.tokens for one in examples)
        validated, started = _VALIDATING, _VALIDATING + _QUEUED
        finished = started + _STARTING + job.trained_tokens / _TOKENS_PER_SECOND
        job.ends = (validated * pace, started * pace, finished * pace)
        steps = max(1, -(-len(examples) * epochs // batch))
        job.losses = losses(examples, min(steps, 2_000), job.seed)
        job.shift = shifts(self._models.find("simulated", job.model), examples, epochs, job.seed)
        job.tuned_model = f"ft:{job.model}:merit:{job.suffix or ''}:{secrets.token_hex(4)}"

    def _write(self) -> None:
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".new")
        draft.write_bytes(orjson.dumps([asdict(job) for job in self.jobs.values()]))
        draft.replace(self._path)

    def _read(self) -> None:
        if self._path is None or not self._path.is_file():
            return
        for one in orjson.loads(self._path.read_bytes()):
            job = Job(**{**one, "ends": tuple(one["ends"])})
            self.jobs[job.id] = job
            if job.done:
                base = self._models.find("simulated", job.model)
                self._models.add(tuned(base, job.tuned_model, job.shift))


def _hyperparameters(body: Mapping[str, Any]) -> dict[str, Any]:
    """As the method says it, or in the older way, on top."""
    method = body.get("method")
    if method is not None and (not isinstance(method, dict) or method.get("type") not in ("supervised", None)):
        raise invalid("Only the method 'supervised' is known here.", "method")
    given = ((method or {}).get("supervised") or {}).get("hyperparameters") or body.get("hyperparameters") or {}
    made = {name: given.get(name, "auto") for name in ("n_epochs", "batch_size", "learning_rate_multiplier")}
    for name, most in (("n_epochs", 50), ("batch_size", 256)):
        value = made[name]
        if value != "auto" and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most):
            raise invalid(f"{name} must be 'auto' or a whole number from 1 to {most}.", name)
    return made


def _examples(content: bytes) -> list[Shown]:
    """Examples of a file.

    Raises
    ------
    Refused : as the provider says it of a file that is no good.
    """
    made = []
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            example = orjson.loads(line)
            messages = example["messages"]
            if messages[-1]["role"] != "assistant" or not all(isinstance(one["role"], str) for one in messages):
                raise ValueError
            made.append(shown(example))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            message = f"Invalid file format. Example on line {number} is not a chat that ends with the assistant."
            raise invalid(message, code="invalid_file_format") from None
    if len(made) < FEWEST_EXAMPLES:
        message = f"Training file has {len(made)} example(s), but must have at least {FEWEST_EXAMPLES} examples."
        raise invalid(message, code="invalid_n_examples")
    return made
