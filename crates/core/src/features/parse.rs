//! Reads `features.toml`, and reports everything that is wrong with it at once.

use super::definition::{Aggregate, Feature, Filter, Scalar};
use toml::{Table, Value};

/// What the file says.
pub(super) struct File {
    /// The event's field that holds its time.
    pub(super) timestamp: String,
    /// How long a hash lives after the last record of its user, in seconds.
    pub(super) ttl_s: i64,
    /// The features, in the file's order.
    pub(super) features: Vec<Feature>,
}

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
const WINDOW_MS: std::ops::RangeInclusive<i64> = MINUTE_MS..=30 * DAY_MS;
/// Ten years; beyond it a mistake in the unit is likelier than a wish.
const TTL_S: std::ops::RangeInclusive<i64> = 1..=315_360_000;
/// More features than this do not fit the compact form that a small hash has in Redis.
const FEATURES: usize = 64;

/// Reads the file; the error lists every problem, each naming feature, field and remedy.
pub(super) fn parse(text: &str) -> Result<File, Vec<String>> {
    let table: Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            return Err(vec![format!(
                "not a TOML file: {}",
                error.to_string().trim()
            )]);
        }
    };
    let mut problems = Vec::new();
    unknown(
        &table,
        &["timestamp", "ttl_s", "feature"],
        "",
        &mut problems,
    );
    let timestamp = match table.get("timestamp") {
        None => "timestamp".to_owned(),
        Some(Value::String(field)) if !field.is_empty() => field.clone(),
        Some(other) => {
            let remedy =
                "name the event's field that holds its time, as in timestamp = \"timestamp\"";
            problems.push(format!("timestamp = {other}: {remedy}"));
            String::new()
        }
    };
    let ttl_s = match table.get("ttl_s") {
        None => 172_800,
        Some(Value::Integer(ttl)) if TTL_S.contains(ttl) => *ttl,
        Some(other) => {
            let (low, high) = TTL_S.into_inner();
            problems.push(format!(
                "ttl_s = {other}: write whole seconds, {low} to {high}"
            ));
            0
        }
    };
    let entries: &[Value] = match table.get("feature") {
        Some(Value::Array(entries)) if !entries.is_empty() => entries,
        Some(other) if !matches!(other, Value::Array(_)) => {
            problems.push("feature: write each feature as a [[feature]] section".to_owned());
            &[]
        }
        _ => {
            problems.push("no feature: add at least one [[feature]] section".to_owned());
            &[]
        }
    };
    if entries.len() > FEATURES {
        let count = entries.len();
        problems.push(format!(
            "{count} features: at most {FEATURES}, split them over two prefixes"
        ));
    }
    let mut features: Vec<Feature> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let Some(feature) = feature(index, entry, &mut problems) else {
            continue;
        };
        if features.iter().any(|other| other.name == feature.name) {
            problems.push(format!(
                "feature {}: name is taken twice, rename one",
                feature.name
            ));
        }
        features.push(feature);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(File {
        timestamp,
        ttl_s,
        features,
    })
}

/// Reads one section; what is wrong with it goes to `problems`.
fn feature(index: usize, entry: &Value, problems: &mut Vec<String>) -> Option<Feature> {
    let Value::Table(table) = entry else {
        problems.push("feature: write each feature as a [[feature]] section".to_owned());
        return None;
    };
    let before = problems.len();
    let name = match table.get("name") {
        Some(Value::String(name)) if is_name(name) => Some(name.clone()),
        Some(other) => {
            let remedy = "write small letters, digits and _, beginning with a letter";
            problems.push(format!("feature {}: name = {other}: {remedy}", index + 1));
            None
        }
        None => {
            problems.push(format!(
                "feature {}: name is missing, add name = \"...\"",
                index + 1
            ));
            None
        }
    };
    let own = name.clone().unwrap_or_else(|| (index + 1).to_string());
    let mut wrong = |problem: String| problems.push(format!("feature {own}: {problem}"));

    let aggregate = aggregate(table, &mut wrong);
    let field = field(table, aggregate, &mut wrong);
    let window_ms = window(table, aggregate, &mut wrong);
    let filter = filter(table, &mut wrong);
    let known = ["name", "aggregate", "field", "window", "where"];
    unknown(table, &known, &format!("feature {own}: "), problems);
    if problems.len() > before {
        return None;
    }
    Some(Feature {
        name: name?,
        aggregate: aggregate?,
        field,
        window_ms,
        filter,
    })
}

fn is_name(name: &str) -> bool {
    let all = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    name.starts_with(|first: char| first.is_ascii_lowercase()) && name.bytes().all(all)
}

fn aggregate(table: &Table, wrong: &mut impl FnMut(String)) -> Option<Aggregate> {
    let named = |name: &str| {
        Aggregate::ALL
            .into_iter()
            .find(|known| known.name() == name)
    };
    let found = table.get("aggregate");
    let aggregate = found.and_then(Value::as_str).and_then(named);
    if aggregate.is_none() {
        let known = Aggregate::ALL.map(Aggregate::name).join(", ");
        wrong(match found {
            Some(other) => format!("aggregate = {other}: write one of {known}"),
            None => format!("aggregate is missing, add one of {known}"),
        });
    }
    aggregate
}

fn field(
    table: &Table,
    aggregate: Option<Aggregate>,
    wrong: &mut impl FnMut(String),
) -> Option<String> {
    let needed = aggregate.map(Aggregate::takes_field);
    match table.get("field") {
        Some(Value::String(field)) if !field.is_empty() => {
            if needed == Some(false) {
                let name = aggregate.map_or("", Aggregate::name);
                wrong(format!(
                    "field = {field:?}: {name} takes no field, remove it"
                ));
            }
            Some(field.clone())
        }
        Some(other) => {
            wrong(format!(
                "field = {other}: write the name of the event's field as a text"
            ));
            None
        }
        None => {
            if needed == Some(true) {
                let name = aggregate.map_or("", Aggregate::name);
                wrong(format!(
                    "field is missing: {name} needs one, as in field = \"amount\""
                ));
            }
            None
        }
    }
}

fn window(
    table: &Table,
    aggregate: Option<Aggregate>,
    wrong: &mut impl FnMut(String),
) -> Option<i64> {
    let Some(found) = table.get("window") else {
        if aggregate.is_some_and(|known| !known.may_go_without_window()) {
            wrong(
                "window is missing, add one from \"1m\" to \"30d\", as in window = \"24h\""
                    .to_owned(),
            );
        }
        return None;
    };
    let millis = found
        .as_str()
        .and_then(|text| humantime::parse_duration(text).ok())
        .and_then(|length| i64::try_from(length.as_millis()).ok())
        .filter(|millis| WINDOW_MS.contains(millis));
    if millis.is_none() {
        wrong(format!(
            "window = {found}: write a text from \"1m\" to \"30d\", as in \"24h\""
        ));
    }
    millis
}

fn filter(table: &Table, wrong: &mut impl FnMut(String)) -> Filter {
    let Some(found) = table.get("where") else {
        return Filter::default();
    };
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

fn unknown(table: &Table, known: &[&str], place: &str, problems: &mut Vec<String>) {
    for key in table.keys().filter(|key| !known.contains(&key.as_str())) {
        let known = known.join(", ");
        problems.push(format!(
            "{place}{key} is unknown, remove it or write one of {known}"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_reported_at_once_with_feature_field_and_remedy() {
        let text = r#"
            timestamp = 3
            ttl_s = "2d"
            retention = 1
            [[feature]]
            name = "Total"
            aggregate = "median"
            window = "24h"
            [[feature]]
            name = "spend"
            aggregate = "sum"
            window = "25x"
            colour = "red"
            [[feature]]
            name = "spend"
            aggregate = "count"
            field = "amount"
            window = "31d"
            where = { action = ["purchase"] }
            [[feature]]
            aggregate = "mean"
            field = 7
        "#;
        let problems = parse(text).err().unwrap();
        for expected in [
            "retention is unknown",
            "timestamp = 3: name the event's field",
            "ttl_s = \"2d\": write whole seconds",
            "feature 1: name = \"Total\": write small letters",
            "feature 1: aggregate = \"median\": write one of count",
            "feature spend: field is missing: sum needs one",
            "feature spend: window = \"25x\": write a text from \"1m\" to \"30d\"",
            "feature spend: colour is unknown",
            "feature spend: field = \"amount\": count takes no field, remove it",
            "feature spend: window = \"31d\"",
            "feature spend: where.action = [\"purchase\"]: write a text",
            "feature 4: name is missing",
            "feature 4: field = 7: write the name",
            "feature 4: window is missing",
        ] {
            let found = problems.iter().any(|problem| problem.starts_with(expected));
            assert!(found, "{expected:?} is not in {problems:#?}");
        }
        assert_eq!(problems.len(), 14, "{problems:#?}");
    }

    #[test]
    fn a_file_that_is_no_toml_or_has_no_feature_is_refused() {
        assert!(parse("[[feature").is_err());
        assert_eq!(parse("").err().unwrap().len(), 1);
        assert!(parse("feature = 3").is_err());
        let twice = "[[feature]]\nname='a'\naggregate='count'\nwindow='1m'\n".repeat(2);
        assert_eq!(
            parse(&twice).err().unwrap(),
            ["feature a: name is taken twice, rename one"]
        );
    }

    #[test]
    fn windows_and_filters_are_read() {
        let text = r#"
            [[feature]]
            name = "n"
            aggregate = "last"
            field = "amount"
            where = { b = 2, a = true, c = "x" }
            [[feature]]
            name = "m"
            aggregate = "count"
            window = "30d"
        "#;
        let file = parse(text).ok().unwrap();
        assert_eq!(
            (file.timestamp.as_str(), file.ttl_s),
            ("timestamp", 172_800)
        );
        assert_eq!(
            file.features[0].filter.to_string(),
            "a = true, b = 2, c = \"x\""
        );
        assert_eq!(file.features[0].window_ms, None);
        assert_eq!(file.features[1].window_ms, Some(30 * DAY_MS));
    }
}
