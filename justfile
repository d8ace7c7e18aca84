# The verbs of everyday work; `just` alone lists them.

# Arguments reach a recipe as they were typed, whatever quotes they hold.
set positional-arguments

sandbox := "cargo run --release --quiet --package sandbox --"

_list:
    @just --list --unsorted

# Everything at once on simulated live traffic, checked at the end
demo *FLAGS:
    cargo demo "$@"

# All tests, on a Kafka and a Redis that they start themselves
test:
    cargo test --release

# Random schedules of faults for the featurizer: just schedules --seeds 20000, or --seed 17 to run one alone and see it
schedules *FLAGS:
    #!/usr/bin/env bash
    set -euo pipefail
    case "${1:-}" in
        --seeds) export TIDEMILL_SEEDS=$2 ;;
        --seed) export TIDEMILL_SEED=$2 ;;
        "") ;;
        *) echo "use --seeds N or --seed N" >&2; exit 64 ;;
    esac
    cargo test --release --workspace --lib engine::schedules -- --nocapture

# Damaged models: each is refused or answers, within 4 GB and its budget of time: just fuzz-models 60
fuzz-models SECONDS="60":
    #!/usr/bin/env bash
    set -euo pipefail
    cargo test --release --workspace --lib --no-run
    ulimit -v 4194304
    export TIDEMILL_FUZZ_SECONDS={{SECONDS}}
    cargo test --release --workspace --lib models_are_fuzzed -- --ignored --nocapture

# What runs before a change lands: formatting, lints, tests
ci:
    .ci/run

# Start a local Kafka and Redis in the background
stack-up:
    {{sandbox}} stack up --detach

# End them and remove their data
stack-down:
    {{sandbox}} stack down

# Remove downloads and data of servers, and say how much that is; --dry-run only says it
clean *FLAGS:
    {{sandbox}} clean "$@"

# An archive of the stripped programs with systemd units and models, for machines without a compiler
dist OUT="target/dist":
    cargo build --release --locked --workspace --bins
    ops/dist.sh target/release "$1"

# user-events -> features in Redis
featurizer *FLAGS:
    cargo run --release --quiet --bin featurizer -- "$@"

# transactions -> fraud-predictions
scorer *FLAGS:
    cargo run --release --quiet --bin scorer -- "$@"

# labeled-events -> Parquet files in training_data/
collector *FLAGS:
    cargo run --release --quiet --bin collector -- "$@"

# Put one JSON record on a topic: just produce user-events u_1 '{"user_id":"u_1","amount":5}'
produce TOPIC KEY JSON:
    {{sandbox}} produce "$1" --key "$2" "$3"

# Print what arrives on a topic
consume TOPIC *FLAGS:
    {{sandbox}} consume "$@"

# Simulated customers, merchants and fraudsters, live
simulate *FLAGS:
    {{sandbox}} simulate "$@"

# What was set aside of a topic, by reason; --resend sends it back: just dead-letters transactions
dead-letters TOPIC *FLAGS:
    {{sandbox}} dead-letters "$@"

# Check the alert rules, and what fires when; needs promtool (Debian: apt install prometheus)
check-alerts:
    promtool check rules ops/alerts.yaml
    promtool test rules ops/alerts_test.yaml

# Render the Helm chart, validate what comes out, and start the programs with it; needs Go and Python 3.11 or later
check-chart:
    python3 -m venv target/venv
    target/venv/bin/pip install --quiet --requirement ops/helm/requirements.txt
    GOBIN="$PWD/target/tools" go install helm.sh/helm/v3/cmd/helm@v3.22.0
    cargo build --release --quiet
    target/venv/bin/python ops/helm/check.py --helm target/tools/helm --programs target/release

# Draw the dashboard as it looks in the test that tries its queries; needs Prometheus and Python 3.11 or later
draw-dashboard PICTURE="target/dashboard.png":
    python3 -m venv target/venv
    target/venv/bin/pip install --quiet matplotlib==3.11.2
    PATH="$PWD/target/venv/bin:$PATH" TIDEMILL_PICTURE="$PWD/{{PICTURE}}" \
        cargo test --release --test e2e every_panel_and_every_alert_has_an_answer

# Draw the live pages under load, at two widths, in light and dark, into target/pages and docs; needs Chromium
draw-pages:
    TIDEMILL_PICTURES="$PWD/target/pages" cargo test --release --test e2e pages_are_drawn_under_load -- --ignored
    cp target/pages/scorer-1600-light.png target/pages/featurizer-1600-dark.png target/pages/collector-1600-light.png \
        docs/pictures/

# Simulated history -> data set -> models/fraud*.onnx -> scored live; needs Python 3.11 or later
train: stack-up
    #!/usr/bin/env bash
    set -euo pipefail
    python3 -m venv target/venv
    target/venv/bin/pip install --quiet --requirement models/requirements.txt
    cargo build --release --quiet
    eval "$(target/release/sandbox stack status | grep export)"
    # Topics and a folder of their own: what others have written is another history.
    run=$(date +%s)
    data=target/training/$run
    target/release/sandbox simulate --seed 11 --count 800000 --span 6d --start 2026-01-05T00:00:00Z --customers 5000 \
        --label-delay 1d --user-events events-$run --transactions transactions-$run --labeled-events labels-$run
    target/release/collector --topic labels-$run --out $data --until-end --admin-addr none \
        --features crates/core/src/features/standard.toml --events-topic events-$run --delay 100ms
    target/release/collector verify $data
    target/venv/bin/python models/train.py $data
    target/release/scorer check models/fraud.onnx
    target/release/scorer check models/fraud_history.onnx
    target/release/sandbox demo --model models/fraud_history.onnx

# The pages in docs/ as HTML in target/book; needs mdbook (cargo install mdbook). A warning is an error
book:
    #!/usr/bin/env bash
    set -euo pipefail
    said=$(mdbook build 2>&1) || { echo "$said" >&2; exit 1; }
    echo "$said"
    ! grep --quiet --ignore-case 'warn' <<< "$said"

# Show that pandas, pyarrow, polars and DuckDB read a data set by the name of its folder
read DATA="training_data":
    python3 -m venv target/venv
    target/venv/bin/pip install --quiet pandas==3.1.1 pyarrow==26.0.1 polars==2.1.0 duckdb==2.0.0
    target/venv/bin/python crates/collector/read.py {{DATA}}

# Models by the scorer, tract alone and onnxruntime, side by side: models/parity.md; needs Python 3.11 or later
bench-model *FLAGS:
    python3 -m venv target/venv
    target/venv/bin/pip install --quiet --requirement crates/scorer/fixtures/requirements.txt
    target/venv/bin/python crates/scorer/fixtures/make.py --large target/models
    {{sandbox}} bench model crates/scorer/fixtures target/models --python target/venv/bin/python {{FLAGS}}
