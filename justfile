# The verbs of everyday work; `just` alone lists them.

sandbox := "cargo run --release --quiet --package sandbox --"

_list:
    @just --list --unsorted

# Everything at once on simulated live traffic, checked at the end
demo *FLAGS:
    cargo demo {{FLAGS}}

# All tests, on a Kafka and a Redis that they start themselves
test:
    cargo test --release

# What runs before a change lands: formatting, lints, tests
ci:
    .ci/run

# Start a local Kafka and Redis in the background
stack-up:
    {{sandbox}} stack up --detach

# End them and remove their data
stack-down:
    {{sandbox}} stack down

# user-events -> features in Redis
featurizer *FLAGS:
    cargo run --release --quiet --bin featurizer -- {{FLAGS}}

# transactions -> fraud-predictions
scorer *FLAGS:
    cargo run --release --quiet --bin scorer -- {{FLAGS}}

# labeled-events -> Parquet files in training_data/
collector *FLAGS:
    cargo run --release --quiet --bin collector -- {{FLAGS}}

# Put one JSON record on a topic: just produce user-events u_1 '{"user_id":"u_1","amount":5}'
produce TOPIC KEY JSON:
    {{sandbox}} produce {{TOPIC}} --key {{KEY}} '{{JSON}}'

# Print what arrives on a topic
consume TOPIC *FLAGS:
    {{sandbox}} consume {{TOPIC}} {{FLAGS}}

# Simulated customers, merchants and fraudsters, live
simulate *FLAGS:
    {{sandbox}} simulate {{FLAGS}}

# Train models/fraud.onnx anew on simulated payments; needs Python 3.11 or later
train:
    {{sandbox}} simulate --to target/labeled.ndjson --seed 11 --count 400000 --span 19d --start 2026-01-05T00:00:00Z --customers 5000 --label-delay 3d
    python3 -m venv target/venv
    target/venv/bin/pip install --quiet --requirement models/requirements.txt
    target/venv/bin/python models/train.py target/labeled.ndjson
