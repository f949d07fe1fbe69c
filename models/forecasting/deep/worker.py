"""The process that `models.forecasting.deep.chronos` starts: `python -m models.forecasting.deep.worker MODEL`.

It answers on standard output: once when the model is loaded (a count of 0), then per forecast the number of steps and
the steps, all little-endian 64-bit; a negative number is the length of an error message that follows. A request on
standard input is the number of observations, the number of steps, and the observations.
"""

from __future__ import annotations

import os
import struct
import sys
import warnings
from typing import Any, BinaryIO


def main() -> None:
    """Load the model, then answer until standard input ends."""
    # What libraries print must not get between the numbers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        pipeline = _loaded(sys.argv[1])
    except Exception as error:  # noqa: BLE001 - whatever it is, the other side tells of it
        _complain(answers, error)
        return
    _send(answers, struct.pack("<q", 0))
    while header := sys.stdin.buffer.read(16):
        count, steps = struct.unpack("<qq", header)
        given = sys.stdin.buffer.read(8 * count)
        try:
            found = _forecast(pipeline, given, steps)
        except Exception as error:  # noqa: BLE001 - as above
            _complain(answers, error)
            continue
        _send(answers, struct.pack("<q", len(found) // 8) + found)


def _loaded(model: str) -> Any:
    warnings.simplefilter("ignore")
    import torch
    from chronos import Chronos2Pipeline

    torch.set_num_threads(1)
    # Weights are kept in 16 bits, in which some processors are thirty times slower.
    pipeline = Chronos2Pipeline.from_pretrained(model, device_map="cpu", dtype=torch.float32)
    pipeline.model.eval()
    return pipeline


def _forecast(pipeline: Any, given: bytes, steps: int) -> bytes:
    import numpy as np
    import torch

    values = np.frombuffer(given, dtype="<f8").astype(np.float32)
    with torch.inference_mode():
        # One series at a time: in a batch, rounding depends on the others.
        _, middle = pipeline.predict_quantiles([torch.from_numpy(values)], prediction_length=steps, batch_size=1)
    return bytes(middle[0][0].to(torch.float64).numpy().astype("<f8").tobytes())


def _complain(answers: BinaryIO, error: Exception) -> None:
    said = f"{type(error).__name__}: {' '.join(str(error).split())}"[:400].encode()
    _send(answers, struct.pack("<q", -len(said)) + said)


def _send(answers: BinaryIO, content: bytes) -> None:
    answers.write(content)
    answers.flush()


if __name__ == "__main__":
    main()
