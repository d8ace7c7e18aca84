"""Trains a LightGBM model on a collector's data set, and writes it as ONNX with its manifest.

    python3 train.py DATA OUT

The latest quarter of the payments is held out, and says how good the model is.
"""

import sys
import tomllib
from pathlib import Path

import lightgbm
import numpy as np
import onnxruntime
import pandas
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType
from sklearn.metrics import average_precision_score

PAYMENT = ["amount", "hour_of_day", "is_international", "merchant_risk_score"]
definitions = tomllib.loads(Path(__file__).with_name("features.toml").read_text())
# Defaults for a user that it knows nothing of: the values of an empty window.
EMPTY = {"count": 0.0, "sum": 0.0, "mean": 0.0, "distinct": 0.0}
HISTORY = {feature["name"]: EMPTY.get(feature["aggregate"], float("nan")) for feature in definitions["feature"]}
NAMES = [*PAYMENT, *HISTORY]

data, out = Path(sys.argv[1]), Path(sys.argv[2])
rows = pandas.read_parquet(data, columns=["timestamp", "label", *NAMES]).sort_values("timestamp")
# A feature without a value stays missing: LightGBM knows missing values.
inputs, labels = rows[NAMES].to_numpy(np.float32), rows["label"].to_numpy()
past = len(rows) * 3 // 4

model = lightgbm.LGBMClassifier(n_estimators=100, num_leaves=15, random_state=0, verbose=-1)
model.fit(inputs[:past], labels[:past])
precision = average_precision_score(labels[past:], model.predict_proba(inputs[past:])[:, 1])
print(f"{past} payments to train on, {len(rows) - past} held out: average precision {precision:.3f}")

onnx = convert_lightgbm(model, initial_types=[("input", FloatTensorType([None, len(NAMES)]))], zipmap=False, target_opset=15)
out.mkdir(parents=True, exist_ok=True)
(out / "fraud.onnx").write_bytes(onnx.SerializeToString())

# Golden vectors are answers of another runtime: the scorer must give the same.
session = onnxruntime.InferenceSession(str(out / "fraud.onnx"))
golden = np.concatenate([inputs[labels == 0][::997][:6], inputs[labels == 1][:6]])
scores = session.run(None, {"input": golden})[1][:, 1]

lines = ["threshold = 0.5", "", "[output]", 'name = "probabilities"', "index = 1"]
for name in PAYMENT:
    lines += ["", "[[input]]", f'name = "{name}"', 'from = "event"']
for name, default in HISTORY.items():
    lines += ["", "[[input]]", f'name = "{name}"', 'from = "features"', f"default = {default}"]
for row, score in zip(golden, scores):
    values = ", ".join("nan" if np.isnan(value) else repr(float(value)) for value in row)
    lines += ["", "[[golden]]", f"input = [{values}]", f"score = {float(score)!r}"]
(out / "fraud.toml").write_text("\n".join(lines) + "\n")
