"""Times onnxruntime on one thread: a job in JSON on each line in, microseconds a row for each batch size out."""

import itertools
import json
import sys
import time

import numpy
import onnxruntime

KINDS = {"tensor(float)": numpy.float32, "tensor(double)": numpy.float64, "tensor(int64)": numpy.int64,
         "tensor(int32)": numpy.int32, "tensor(bool)": numpy.bool_}
STRETCHES = 8


def feed(inputs, rows):
    """The rows as the model's tensors: of all columns, or of one column each."""
    if len(inputs) == 1:
        return {inputs[0].name: rows.astype(KINDS[inputs[0].type])}
    return {tensor.name: rows[:, [at]].astype(KINDS[tensor.type]) for at, tensor in enumerate(inputs)}


for line in sys.stdin:
    job = json.loads(line)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(job["model"], options, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    # The probabilities alone where there are labels too; the lists of maps for people would take longest.
    outputs = [output.name for output in session.get_outputs() if output.type == "tensor(float)"][:1] or None
    rows = numpy.array([[numpy.nan if x is None else x for x in row] for row in job["rows"]])
    fixed = [inputs[0].shape[0]] if inputs[0].shape and isinstance(inputs[0].shape[0], int) else []
    found = []
    for batch in job["batches"]:
        step = fixed[0] if fixed else batch
        many = numpy.tile(rows, (-(-batch * 16 // len(rows)), 1))
        feeds = [feed(inputs, many[at:at + step]) for at in range(0, len(many) - step + 1, step)]
        feeds = itertools.cycle(feeds)
        best = float("inf")
        for _ in range(STRETCHES):
            start, done = time.perf_counter(), 0
            while done == 0 or time.perf_counter() - start < job["seconds"] / STRETCHES:
                session.run(outputs, next(feeds))
                done += step
            best = min(best, (time.perf_counter() - start) / done)
        found.append(best * 1e6)
    print(json.dumps(found), flush=True)
