//! The records of the simulated world, as written to their topics.

use serde::Serialize;

/// An occurrence, with all fields of its record.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An action of a customer, for `user-events`.
    User(UserEvent),
    /// A payment, for `transactions`.
    Transaction(Transaction),
    /// The truth about a payment, found out later, for `labeled-events`.
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

    /// The time of the event (epoch ms); for a label, the time at which it became known.
    pub fn time_ms(&self) -> i64 {
        match self {
            Event::User(event) => event.timestamp.0,
            Event::Transaction(transaction) => transaction.timestamp.0,
            Event::Label(labeled) => labeled.label_timestamp.0,
        }
    }

    /// Appends its JSON value to `out`.
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
    /// The customer's id.
    pub user_id: String,
    /// `purchase`, `view`, `add_to_cart` or `login`.
    pub action: &'static str,
    /// The amount paid; only purchases have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<f64>,
    /// The time of the action.
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
    /// The card holder's id.
    pub user_id: String,
    /// In the card's currency, two decimals.
    pub amount: f64,
    /// 0..24, on the customer's own clock.
    pub hour_of_day: u8,
    /// 1 if the merchant is in another country than the card.
    pub is_international: u8,
    /// 0..1, the acquirer's rating of the merchant.
    pub merchant_risk_score: f64,
    /// The time of the payment.
    pub timestamp: Time,
}

/// A payment together with its late truth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabeledEvent {
    /// The payment itself, its fields inline.
    #[serde(flatten)]
    pub transaction: Transaction,
    /// Score of the rules that a model is to replace, four decimals.
    pub fraud_score: f64,
    /// Decision of those rules.
    pub is_fraud: bool,
    /// The truth: 1 for fraud.
    pub label: u8,
    /// The time at which the truth became known.
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
