"""A fine-tuning job of the simulated provider: where it is at a moment, and how it is told in OpenAI's shape."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_ORGANISATION = "org-simulated"
_TOLD_STEPS = 20
ENDED = frozenset({"succeeded", "failed", "cancelled"})


@dataclass
class Job:
    """A fine-tuning job.

    Attributes
    ----------
    cancelled_at, error : how it ended where it did not succeed.
    shift : logits that the model gains by domain; empty where its files are no good.
    ends : seconds after `created` at which validating, queueing and training end.
    """

    id: str
    model: str
    training_file: str
    validation_file: str | None
    suffix: str | None
    seed: int
    metadata: dict[str, str]
    created: float
    hyperparameters: dict[str, Any]
    trained_tokens: int = 0
    ends: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift: dict[str, float] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    tuned_model: str = ""
    error: dict[str, Any] | None = None
    cancelled_at: float | None = None
    done: bool = False

    def status(self, now: float) -> str:
        """Where it is."""
        if self.cancelled_at is not None:
            return "cancelled"
        validated, started, finished = (self.created + end for end in self.ends)
        if now < validated:
            return "validating_files"
        if self.error is not None:
            return "failed"
        return "queued" if now < started else "running" if now < finished else "succeeded"

    def told(self, now: float) -> dict[str, Any]:
        """A job in OpenAI's shape."""
        status = self.status(now)
        ended = status in ENDED
        return {
            "id": self.id,
            "object": "fine_tuning.job",
            "created_at": int(self.created),
            "error": self.error if status == "failed" else None,
            "fine_tuned_model": self.tuned_model if status == "succeeded" else None,
            "finished_at": int(self.cancelled_at or self.created + self.ends[2]) if ended else None,
            "hyperparameters": self.hyperparameters,
            "model": self.model,
            "organization_id": _ORGANISATION,
            "result_files": [],
            "status": status,
            "trained_tokens": self.trained_tokens if status == "succeeded" else None,
            "training_file": self.training_file,
            "validation_file": self.validation_file,
            "integrations": [],
            "seed": self.seed,
            "estimated_finish": None if ended else int(self.created + self.ends[2]),
            "method": {"type": "supervised", "supervised": {"hyperparameters": self.hyperparameters}},
            "metadata": self.metadata or None,
            "user_provided_suffix": self.suffix,
        }

    def events(self, now: float) -> list[dict[str, Any]]:
        """What has happened, newest first."""
        validated, started, finished = (self.created + end for end in self.ends)
        made: list[tuple[float, str, str, dict[str, Any] | None]] = [
            (self.created, "message", f"Created fine-tuning job: {self.id}", None),
            (self.created, "message", f"Validating training file: {self.training_file}", None),
        ]
        if self.error is not None:
            made.append((validated, "message", self.error["message"], None))
        else:
            made.append((validated, "message", "Files validated, moving job to queued state", None))
            made.append((started, "message", "Fine-tuning job started", None))
            steps = len(self.losses)
            for number in range(1, min(steps, _TOLD_STEPS) + 1):
                step = round(number * steps / min(steps, _TOLD_STEPS))
                at = started + (finished - started) * step / steps
                data = {"step": step, "total_steps": steps, "train_loss": self.losses[step - 1]}
                made.append((at, "metrics", f"Step {step}/{steps}: training loss={self.losses[step - 1]:.2f}", data))
            made.append((finished, "message", f"New fine-tuned model created: {self.tuned_model}", None))
            made.append((finished, "message", "The job has successfully completed", None))
        until = now
        if self.cancelled_at is not None:
            until = self.cancelled_at
            made = [one for one in made if one[0] <= until]
            made.append((until, "message", "Fine-tuning job was cancelled", None))
        shown_events = [
            {
                "object": "fine_tuning.job.event",
                "id": f"ftevent-{self.id[6:18]}{place:04d}",
                "created_at": int(at),
                "level": "error" if self.error is not None and message == self.error["message"] else "info",
                "message": message,
                "type": kind,
                "data": data or {},
            }
            for place, (at, kind, message, data) in enumerate(made)
            if at <= until
        ]
        return shown_events[::-1]

    def checkpoints(self, now: float) -> list[dict[str, Any]]:
        """One at the end of each of the last three epochs, newest first, once the job has succeeded."""
        if self.status(now) != "succeeded":
            return []
        steps, epochs = len(self.losses), int(self.hyperparameters["n_epochs"])
        made = []
        for epoch in range(max(1, epochs - 2), epochs + 1):
            step = max(1, round(steps * epoch / epochs))
            name = self.tuned_model + ("" if epoch == epochs else f":ckpt-step-{step}")
            made.append(
                {
                    "object": "fine_tuning.job.checkpoint",
                    "id": f"ftckpt_{self.id[6:18]}{epoch:02d}",
                    "created_at": int(self.created + self.ends[2]),
                    "fine_tuned_model_checkpoint": name,
                    "fine_tuning_job_id": self.id,
                    "metrics": {"step": step, "train_loss": self.losses[step - 1]},
                    "step_number": step,
                }
            )
        return made[::-1]
