# One image for all three binaries; the command names the one to run.
FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
# Kafka and TLS libraries are compiled from source and linked in: perl and make, which the image has, are all they need.
RUN cargo build --release --locked --package featurizer --package scorer --package collector \
    && mkdir /out && cp target/release/featurizer target/release/scorer target/release/collector /out/ \
    && strip /out/*

FROM debian:bookworm-slim
# Certificates for TLS; curl for the health checks.
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 tidemill \
    && useradd --system --uid 10001 --gid tidemill --create-home --home-dir /var/lib/tidemill tidemill
COPY --from=build /out/ /usr/local/bin/
COPY models/fraud.onnx models/fraud.toml models/fraud_history.onnx models/fraud_history.toml models/labeled-events.json /var/lib/tidemill/models/
# By number, as Kubernetes must see that it is not root.
USER 10001:10001
WORKDIR /var/lib/tidemill
# Writable by the user, so that a volume mounted here is too.
RUN mkdir training_data
CMD ["scorer"]
