"""Trains the fraud model on labeled events and writes it as ONNX, with its manifest.

    cargo run --release -p sandbox -- simulate --to labeled.ndjson --seed 11 --count 400000 \\
        --span 19d --start 2026-01-05T00:00:00Z --customers 5000 --label-delay 3d
    python3 -m venv venv && venv/bin/pip install -r models/requirements.txt
    venv/bin/python models/train.py labeled.ndjson

The latest quarter of the payments is held out: a model meets the future, so it is measured on it.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from sklearn.metrics import average_precision_score, precision_score, recall_score, roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

INPUTS = ["amount", "hour_of_day", "is_international", "merchant_risk_score"]
THRESHOLD = 0.85
HELD_OUT = 0.25
# A missed fraud costs more than a false alert: how much more shifts the scores, and with them what the threshold means.
FRAUD_WEIGHT = 3.0


def read(path):
    """Inputs and labels of a file of labeled events, one JSON object a line, in the order of their payments."""
    with open(path, encoding="utf-8") as lines:
        events = [json.loads(line) for line in lines]
    events.sort(key=lambda event: event["timestamp"])
    inputs = np.array([[event[name] for name in INPUTS] for event in events], dtype=np.float32)
    return inputs, np.array([event["label"] for event in events])


def scale(inputs):
    """What the network sees: the amount by its logarithm, so that even absurd ones stay within its experience."""
    return np.column_stack([np.log1p(np.maximum(inputs[:, 0], 0)), inputs[:, 1:]])


def fit(inputs, labels):
    """A scaler and a small network behind it."""
    scaler = StandardScaler().fit(scale(inputs))
    network = MLPClassifier((32, 16), batch_size=1024, max_iter=15, n_iter_no_change=15, random_state=0)
    network.fit(scaler.transform(scale(inputs)), labels, sample_weight=np.where(labels == 1, FRAUD_WEIGHT, 1.0))
    return scaler, network


def to_onnx(scaler, network):
    """The same computation in plain operators, the scaler folded into the first layer."""
    weights, offsets = [w.copy() for w in network.coefs_], [b.copy() for b in network.intercepts_]
    weights[0] /= scaler.scale_[:, None]
    offsets[0] -= scaler.mean_ @ weights[0]

    constants = {"one": np.array([1.0]), "first": np.array([0]), "others": np.array([1, 2, 3])}
    nodes = [
        helper.make_node("Gather", ["input", "first"], ["amount"], axis=1),
        helper.make_node("Relu", ["amount"], ["spent"]),
        helper.make_node("Add", ["spent", "one"], ["spent_and_one"]),
        helper.make_node("Log", ["spent_and_one"], ["log_amount"]),
        helper.make_node("Gather", ["input", "others"], ["other_inputs"], axis=1),
        helper.make_node("Concat", ["log_amount", "other_inputs"], ["layer0"], axis=1),
    ]
    last = len(weights) - 1
    for layer, (weight, offset) in enumerate(zip(weights, offsets)):
        constants[f"weight{layer}"], constants[f"offset{layer}"] = weight, offset
        nodes.append(helper.make_node("Gemm", [f"layer{layer}", f"weight{layer}", f"offset{layer}"], [f"sum{layer}"]))
        activation = ("Sigmoid", "fraud") if layer == last else ("Relu", f"layer{layer + 1}")
        nodes.append(helper.make_node(activation[0], [f"sum{layer}"], [activation[1]]))
    nodes += [
        helper.make_node("Sub", ["one", "fraud"], ["honest"]),
        helper.make_node("Concat", ["honest", "fraud"], ["probabilities"], axis=1),
    ]

    def tensor(name, values):
        kind = np.int64 if np.issubdtype(values.dtype, np.integer) else np.float32
        return numpy_helper.from_array(values.astype(kind), name)

    graph = helper.make_graph(
        nodes,
        "fraud",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", len(INPUTS)])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2])],
        [tensor(name, values) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def manifest(session, examples, measured):
    """The manifest's text: inputs in column order, and what the model must answer to a few of them."""
    lines = ["# Written by train.py. On the payments held out, later than those trained on:"]
    lines += [f"# {line}" for line in measured]
    lines += ["", f"threshold = {THRESHOLD}", "", "[output]", 'name = "probabilities"', "index = 1", 'transform = "none"']
    for name in INPUTS:
        lines += ["", "[[input]]", f'name = "{name}"', 'from = "event"']
    for row in examples:
        score = session.run(["probabilities"], {"input": row[None, :]})[0][0, 1]
        numbers = ", ".join(str(number) for number in row)
        lines += ["", "[[golden]]", f"input = [{numbers}]", f"score = {np.format_float_positional(score, trim='0')}"]
    return "\n".join(lines) + "\n"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", help="labeled events, one JSON object a line")
    arguments.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder of fraud.onnx and fraud.toml")
    given = arguments.parse_args()

    inputs, labels = read(given.data)
    cut = int(len(labels) * (1 - HELD_OUT))
    scaler, network = fit(inputs[:cut], labels[:cut])
    model = to_onnx(scaler, network)

    session = onnxruntime.InferenceSession(model.SerializeToString())
    later, truth = inputs[cut:], labels[cut:]
    scores = session.run(["probabilities"], {"input": later})[0][:, 1]
    expected = network.predict_proba(scaler.transform(scale(later)))[:, 1]
    assert np.abs(scores - expected).max() < 1e-5, "the exported model computes something else"

    alerts = scores > THRESHOLD
    measured = [
        f"{len(truth)} payments, {truth.sum()} of them fraud",
        f"AUC {roc_auc_score(truth, scores):.4f}, average precision {average_precision_score(truth, scores):.4f}",
        f"above {THRESHOLD}: precision {precision_score(truth, alerts):.3f}, recall {recall_score(truth, alerts):.3f}",
    ]
    print("\n".join(measured))

    # The first payments held out, then some of each height of score, then what no customer does.
    by_score = np.argsort(scores)
    spread = later[by_score[np.linspace(0, len(scores) - 1, 5).astype(int)]]
    odd = np.array([[0, 0, 0, 0], [-20, 23, 1, 1], [1e6, 12, 1, 0.5]], dtype=np.float32)
    alarming = later[alerts][:3]
    examples = np.concatenate([later[:3], alarming, spread, odd])
    given.out.mkdir(parents=True, exist_ok=True)
    onnx.save(model, given.out / "fraud.onnx")
    (given.out / "fraud.toml").write_text(manifest(session, examples, measured), encoding="utf-8")


if __name__ == "__main__":
    main()
