//! The records of the simulated world, as they are written to their topics.

use serde::Serialize;

/// Something that happened, with everything needed to write it down.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// What a customer did, for `user-events`.
    User(UserEvent),
    /// A payment, for `transactions`.
    Transaction(Transaction),
    /// What was later found out about a payment, for `labeled-events`.
    Label(LabeledEvent),
}

impl Event {
    /// The Kafka key: users by their id, payments and labels by the transaction's.
    pub fn key(&self) -> &str {
        match self {
            Event::User(event) => &event.user_id,
            Event::Transaction(transaction) => &transaction.transaction_id,
            Event::Label(labeled) => &labeled.transaction.transaction_id,
        }
    }

    /// When it happened, epoch milliseconds; for a label when it became known.
    pub fn time_ms(&self) -> i64 {
        match self {
            Event::User(event) => event.timestamp.0,
            Event::Transaction(transaction) => transaction.timestamp.0,
            Event::Label(labeled) => labeled.label_timestamp.0,
        }
    }

    /// Writes its JSON value to the end of `out`.
    pub fn write_json(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        match self {
            Event::User(event) => serde_json::to_writer(out, event),
            Event::Transaction(transaction) => serde_json::to_writer(out, transaction),
            Event::Label(labeled) => serde_json::to_writer(out, labeled),
        }
    }
}

/// An action of a customer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UserEvent {
    /// Who.
    pub user_id: String,
    /// `purchase`, `view`, `add_to_cart` or `login`.
    pub action: &'static str,
    /// What was paid; only purchases have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<f64>,
    /// When.
    pub timestamp: Time,
    /// Category of the merchant; logins have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_category: Option<&'static str>,
}

/// A payment to be judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Transaction {
    /// Unique within a run, and the same in every run of one seed.
    pub transaction_id: String,
    /// Whose card.
    pub user_id: String,
    /// In the card's currency, two decimals.
    pub amount: f64,
    /// 0..24, on the customer's own clock.
    pub hour_of_day: u8,
    /// 1 when the merchant is in another country than the card.
    pub is_international: u8,
    /// 0..1, what the acquirer thinks of the merchant.
    pub merchant_risk_score: f64,
    /// When.
    pub timestamp: Time,
}

/// A payment together with its late truth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabeledEvent {
    /// The payment itself, its fields inline.
    #[serde(flatten)]
    pub transaction: Transaction,
    /// What the rules of the time scored, four decimals.
    pub fraud_score: f64,
    /// What the rules of the time decided.
    pub is_fraud: bool,
    /// The truth: 1 for fraud.
    pub label: u8,
    /// When the truth became known.
    pub label_timestamp: Time,
}

/// Epoch milliseconds, written as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = jiff::Timestamp::from_millisecond(self.0).map_err(serde::ser::Error::custom)?;
        serializer.collect_str(&format_args!("{time:.3}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_reads_as_documented() {
        let event = Event::Transaction(Transaction {
            transaction_id: "t_1".into(),
            user_id: "u_12345".into(),
            amount: 49.99,
            hour_of_day: 10,
            is_international: 0,
            merchant_risk_score: 0.12,
            timestamp: Time(1_771_151_400_000),
        });
        let mut json = Vec::new();
        event.write_json(&mut json).unwrap();
        assert_eq!(
            String::from_utf8(json).unwrap(),
            r#"{"transaction_id":"t_1","user_id":"u_12345","amount":49.99,"hour_of_day":10,"is_international":0,"merchant_risk_score":0.12,"timestamp":"2026-02-15T10:30:00.000Z"}"#
        );
    }
}
