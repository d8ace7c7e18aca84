"""Trains the fraud models on a collector's data set and writes them as ONNX, each with its manifest.

    just train        # simulates payments, collects them with the users' features as of each, and calls this

    collector --until-end --out data --features crates/core/src/features/standard.toml --delay 100ms
    python3 -m venv venv && venv/bin/pip install -r models/requirements.txt
    venv/bin/python models/train.py data

`fraud` sees the payment alone, `fraud_history` also what the featurizer knows of its user. The latest quarter of the
payments is held out: a model meets the future, so it is measured on it.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
from onnx import TensorProto, helper, numpy_helper
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import average_precision_score, precision_score, recall_score, roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

PAYMENT = ["amount", "hour_of_day", "is_international", "merchant_risk_score"]
# The user's features, and their values of an empty window: what serving has to assume of a user it knows nothing of.
HISTORY = {"purchase_count_24h": 0.0, "total_spend_24h": 0.0, "avg_purchase_amount": 0.0}
# Taken by their logarithm, so that even absurd ones stay within the network's experience.
LOGARITHMIC = {"amount", *HISTORY}
THRESHOLD = 0.85
HELD_OUT = 0.25
# A missed fraud costs more than a false alert: how much more shifts the scores, and with them what the threshold means.
FRAUD_WEIGHT = 3.0


def read(folder):
    """The data set's payments in the order in which they were made; without those whose history is not known whole."""
    events = pd.read_parquet(folder, columns=["timestamp", "transaction_id", "label", *PAYMENT, *HISTORY])
    whole = events.dropna(subset=list(HISTORY))
    print(f"{len(events)} payments, {len(events) - len(whole)} of them left out for want of their users' history")
    return whole.sort_values(["timestamp", "transaction_id"])


def scale(inputs, names):
    """What the network sees."""
    columns = [np.log1p(np.maximum(column, 0)) if name in LOGARITHMIC else column for name, column in zip(names, inputs.T)]
    return np.column_stack(columns)


def fit(inputs, labels, names):
    """A scaler and a small network behind it."""
    scaler = StandardScaler().fit(scale(inputs, names))
    network = MLPClassifier((32, 16), batch_size=1024, max_iter=15, n_iter_no_change=15, random_state=0)
    seen = scaler.transform(scale(inputs, names))
    # Fifteen passes are what is meant, whether or not more would change a little.
    warnings.simplefilter("ignore", ConvergenceWarning)
    network.fit(seen, labels, sample_weight=np.where(labels == 1, FRAUD_WEIGHT, 1.0))
    return scaler, network


def to_onnx(scaler, network, names):
    """The same computation in plain operators, the scaler folded into the first layer."""
    logarithmic = [place for place, name in enumerate(names) if name in LOGARITHMIC]
    others = [place for place, name in enumerate(names) if name not in LOGARITHMIC]
    order = logarithmic + others
    weights, offsets = [w.copy() for w in network.coefs_], [b.copy() for b in network.intercepts_]
    weights[0] /= scaler.scale_[:, None]
    offsets[0] -= scaler.mean_ @ weights[0]
    weights[0] = weights[0][order]

    constants = {"one": np.array([1.0]), "logarithmic": np.array(logarithmic), "others": np.array(others)}
    nodes = [
        helper.make_node("Gather", ["input", "logarithmic"], ["amounts"], axis=1),
        helper.make_node("Relu", ["amounts"], ["not_negative"]),
        helper.make_node("Add", ["not_negative", "one"], ["and_one"]),
        helper.make_node("Log", ["and_one"], ["logarithms"]),
        helper.make_node("Gather", ["input", "others"], ["other_inputs"], axis=1),
        helper.make_node("Concat", ["logarithms", "other_inputs"], ["layer0"], axis=1),
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
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", len(names)])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2])],
        [tensor(name, values) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def manifest(session, names, examples, measured):
    """The manifest's text: inputs in column order, and what the model must answer to a few of them."""
    lines = ["# Written by train.py. On the payments held out, later than those trained on:"]
    lines += [f"# {line}" for line in measured]
    lines += ["", f"threshold = {THRESHOLD}", "", "[output]", 'name = "probabilities"', "index = 1", 'transform = "none"']
    for name in names:
        lines += ["", "[[input]]", f'name = "{name}"']
        lines += ['from = "features"', f"default = {HISTORY[name]}"] if name in HISTORY else ['from = "event"']
    for row in examples:
        score = session.run(["probabilities"], {"input": row[None, :]})[0][0, 1]
        numbers = ", ".join(str(number) for number in row)
        lines += ["", "[[golden]]", f"input = [{numbers}]", f"score = {np.format_float_positional(score, trim='0')}"]
    return "\n".join(lines) + "\n"


def examples_of(later, scores, names):
    """The first payments held out, some alarming ones, some of each height of score, then what no customer does."""
    by_score = np.argsort(scores, kind="stable")
    spread = later[by_score[np.linspace(0, len(scores) - 1, 5).astype(int)]]
    payments = [[0, 0, 0, 0], [-20, 23, 1, 1], [1e6, 12, 1, 0.5]]
    odd = [payment + [value] * (len(names) - len(PAYMENT)) for payment, value in zip(payments, [0, 1, 1e6])]
    return np.concatenate([later[:3], later[scores > THRESHOLD][:3], spread, np.array(odd, dtype=np.float32)])


def train(events, names, path):
    """Trains one model on these columns, measures it, and writes `path`.onnx and `path`.toml."""
    inputs, labels = events[names].to_numpy(dtype=np.float32), events["label"].to_numpy()
    cut = int(len(labels) * (1 - HELD_OUT))
    scaler, network = fit(inputs[:cut], labels[:cut], names)
    model = to_onnx(scaler, network, names)

    session = onnxruntime.InferenceSession(model.SerializeToString())
    later, truth = inputs[cut:], labels[cut:]
    scores = session.run(["probabilities"], {"input": later})[0][:, 1]
    expected = network.predict_proba(scaler.transform(scale(later, names)))[:, 1]
    assert np.abs(scores - expected).max() < 1e-5, "the exported model computes something else"

    alerts = scores > THRESHOLD
    measured = [
        f"{len(truth)} payments, {truth.sum()} of them fraud",
        f"AUC {roc_auc_score(truth, scores):.4f}, average precision {average_precision_score(truth, scores):.4f}",
        f"above {THRESHOLD}: precision {precision_score(truth, alerts):.3f}, recall {recall_score(truth, alerts):.3f}",
    ]
    print("\n  ".join([f"{path.name}, inputs {', '.join(names)}", *measured]))
    onnx.save(model, path.with_suffix(".onnx"))
    text = manifest(session, names, examples_of(later, scores, names), measured)
    path.with_suffix(".toml").write_text(text, encoding="utf-8")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", help="the collector's data set, with the standard features")
    arguments.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder of the models")
    given = arguments.parse_args()

    events = read(given.data)
    given.out.mkdir(parents=True, exist_ok=True)
    train(events, PAYMENT, given.out / "fraud")
    train(events, PAYMENT + list(HISTORY), given.out / "fraud_history")


if __name__ == "__main__":
    main()
