//! Errors of the Kafka client library, for those who must not name its types.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// True where the client library, or a broker through it, refused or did not answer: the same may succeed later.
pub fn is_client_error(error: &anyhow::Error) -> bool {
    let mut causes = error.chain();
    causes.any(|cause| cause.is::<KafkaError>() || cause.is::<RDKafkaErrorCode>())
}

/// True where the brokers did not answer in time.
pub fn is_timeout(error: &anyhow::Error) -> bool {
    let code = |cause: &KafkaError| cause.rdkafka_error_code();
    let mut codes = error
        .chain()
        .filter_map(|cause| cause.downcast_ref().and_then(code));
    codes.any(|code| code == RDKafkaErrorCode::OperationTimedOut)
}

/// True if a broker answered that there is no such topic.
pub(super) fn is_unknown_topic(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<RDKafkaErrorCode>();
    code == Some(&RDKafkaErrorCode::UnknownTopicOrPartition)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn the_clients_errors_are_known_beneath_what_was_added() {
        let code = RDKafkaErrorCode::AllBrokersDown;
        let consuming = anyhow::Error::from(KafkaError::MessageConsumption(code));
        for error in [consuming, code.into()] {
            let told = Err::<(), _>(error).context("reading").unwrap_err();
            assert!(is_client_error(&told), "{told:#}");
            assert!(!is_unknown_topic(&told), "{told:#}");
        }
        let unknown = Err::<(), _>(RDKafkaErrorCode::UnknownTopicOrPartition);
        assert!(is_unknown_topic(&unknown.context("asking").unwrap_err()));
        assert!(!is_client_error(&anyhow::anyhow!("a fault of ours")));
    }
}
