//! The `where` of a feature: reads its conditions, and finds those that no record can fulfil.

use super::definition::{Feature, Filter, Scalar};
use super::plan::{ACTION_FIELD, AMOUNT_FIELD};
use toml::Value;

/// Reads the conditions; `wrong` receives a sentence for each that cannot be used.
pub(super) fn read(found: &Value, mut wrong: impl FnMut(String)) -> Filter {
    let Value::Table(conditions) = found else {
        wrong(format!(
            "where = {found}: write {{ field = value }}, as in {{ action = \"purchase\" }}"
        ));
        return Filter::default();
    };
    let mut filter = Filter::default();
    for (field, value) in conditions {
        let scalar = match value {
            Value::String(text) => Scalar::Text(text.clone()),
            Value::Integer(number) => Scalar::Number(*number as f64),
            Value::Float(number) if number.is_finite() => Scalar::Number(*number),
            Value::Boolean(flag) => Scalar::Bool(*flag),
            other => {
                wrong(format!(
                    "where.{field} = {other}: write a text, a number, true or false"
                ));
                continue;
            }
        };
        filter.0.push((field.clone(), scalar));
    }
    filter.0.sort_by(|one, other| one.0.cmp(&other.0));
    filter
}

/// The conditions of a feature that no record fulfils, each with the remedy. `features` are all of the file: a field
/// that one of them sums up is a number in every record that counts.
pub(super) fn impossible(feature: &Feature, features: &[Feature], time: &str) -> Vec<String> {
    let is_number = |field: &str| {
        let adds_up = |other: &Feature| {
            other.aggregate.takes_numbers() && other.field.as_deref() == Some(field)
        };
        field == AMOUNT_FIELD || features.iter().any(adds_up)
    };
    let judge = |(field, scalar): &(String, Scalar)| {
        let remedy = match scalar {
            Scalar::Text(_) if is_number(field) => {
                "the field is a number, which equals no text: write a number without quotes, comparisons are not known"
            }
            Scalar::Bool(_) if is_number(field) => {
                "the field is a number, which equals neither true nor false: write a number"
            }
            Scalar::Number(_) | Scalar::Bool(_) if field == ACTION_FIELD => {
                "the field is a text: write a text in quotes, as in \"purchase\""
            }
            Scalar::Bool(_) if field == time => "the field is a time: remove the condition",
            _ => return None,
        };
        Some(format!("where.{field} = {scalar}: {remedy}"))
    };
    feature.filter.0.iter().filter_map(judge).collect()
}

/// The conditions of a feature that are probably a mistake.
pub(super) fn doubtful(feature: &Feature) -> Vec<String> {
    let judge = |(field, scalar): &(String, Scalar)| {
        let Scalar::Text(text) = scalar else {
            return None;
        };
        let operator = ["<", ">", "=", "!="]
            .iter()
            .any(|sign| text.starts_with(sign));
        let doubt = if operator {
            "is taken as a text, not as a comparison"
        } else if text.trim() != text {
            "begins or ends with a blank, which a record's text must have too"
        } else {
            return None;
        };
        Some(format!(
            "feature {}: where.{field} = {scalar} {doubt}",
            feature.name
        ))
    };
    feature.filter.0.iter().filter_map(judge).collect()
}
