//! Reads `features.toml`, and reports all of its problems at once.

use super::conditions;
use super::definition::{Aggregate, Feature, Filter};
use super::problems::Problems;
use crate::spelling::unknown_key;
use toml::{Table, Value};

/// The contents of the file.
pub(super) struct File {
    /// The event's field that holds its time.
    pub(super) timestamp: String,
    /// Time that a hash lives after the last record of its user, in seconds.
    pub(super) ttl_s: i64,
    /// The features, in the file's order.
    pub(super) features: Vec<Feature>,
}

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
const WINDOW_MS: std::ops::RangeInclusive<i64> = MINUTE_MS..=30 * DAY_MS;
/// Up to ten years; beyond it a mistake in the unit is likelier than a wish.
const TTL_S: std::ops::RangeInclusive<i64> = 60..=315_360_000;
/// Default lifetime of a hash (seconds), unless a window is longer.
const USUAL_TTL_S: i64 = 172_800;
/// Limit of features: a hash with more would not fit the compact encoding that Redis has for small hashes.
const FEATURES: usize = 64;

/// Reads the file; the error lists every problem, each naming line, feature, field and remedy.
pub(super) fn parse(text: &str) -> Result<File, Vec<String>> {
    let no_toml = |error: String| vec![format!("not a TOML file: {}", error.trim())];
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| no_toml(error.to_string()))?;
    let mut problems = Problems::of(text).map_err(no_toml)?;
    unknown(
        &table,
        &["timestamp", "ttl_s", "feature"],
        None,
        &mut problems,
    );
    let timestamp = timestamp(&table, &mut problems);
    let features = features(&table, &mut problems);
    let ttl_s = ttl_s(&table, &features, &mut problems);
    for (index, feature) in &features {
        let all: Vec<Feature> = features.iter().map(|(_, other)| other.clone()).collect();
        for problem in conditions::impossible(feature, &all, &timestamp) {
            problems.add(Some(*index), "where", &problem);
        }
    }
    if problems.count() > 0 {
        return Err(problems.in_order());
    }
    Ok(File {
        timestamp,
        ttl_s,
        features: features.into_iter().map(|(_, feature)| feature).collect(),
    })
}

fn timestamp(table: &Table, problems: &mut Problems<'_>) -> String {
    match table.get("timestamp") {
        None => "timestamp".to_owned(),
        Some(Value::String(field)) if !field.is_empty() => field.clone(),
        Some(other) => {
            let remedy =
                "name the event's field that holds its time, as in timestamp = \"timestamp\"";
            problems.add(None, "timestamp", &format!("timestamp = {other}: {remedy}"));
            String::new()
        }
    }
}

/// A hash must live at least as long as its longest window: else it expires while its values still count.
fn ttl_s(table: &Table, features: &[(usize, Feature)], problems: &mut Problems<'_>) -> i64 {
    let windows = features.iter().filter_map(|(_, feature)| feature.window_ms);
    let longest_s = (windows.max().unwrap_or_default() + 999) / 1000;
    match table.get("ttl_s") {
        None => USUAL_TTL_S.max(longest_s),
        Some(Value::Integer(ttl)) if TTL_S.contains(ttl) && *ttl >= longest_s => *ttl,
        Some(Value::Integer(ttl)) if TTL_S.contains(ttl) => {
            let problem = format!(
                "ttl_s = {ttl}: shorter than the longest window, write {longest_s} or more, or leave it out"
            );
            problems.add(None, "ttl_s", &problem);
            *ttl
        }
        Some(other) => {
            let (low, high) = TTL_S.into_inner();
            let problem = format!("ttl_s = {other}: write whole seconds, {low} to {high}");
            problems.add(None, "ttl_s", &problem);
            0
        }
    }
}

/// The features that could be read, each with its index in the file.
fn features(table: &Table, problems: &mut Problems<'_>) -> Vec<(usize, Feature)> {
    const SECTION: &str = "feature: write each feature as a [[feature]] section";
    let entries: &[Value] = match table.get("feature") {
        Some(Value::Array(entries)) if !entries.is_empty() => entries,
        Some(other) if !matches!(other, Value::Array(_)) => {
            problems.add(None, "feature", SECTION);
            &[]
        }
        _ => {
            problems.add(
                None,
                "feature",
                "no feature: add at least one [[feature]] section",
            );
            &[]
        }
    };
    if entries.len() > FEATURES {
        let count = entries.len();
        let problem = format!("{count} features: at most {FEATURES}, split them over two prefixes");
        problems.add(None, "feature", &problem);
    }
    let mut features: Vec<(usize, Feature)> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let Value::Table(table) = entry else {
            problems.add(None, "feature", SECTION);
            continue;
        };
        let Some(feature) = feature(index, table, problems) else {
            continue;
        };
        if features.iter().any(|(_, other)| other.name == feature.name) {
            problems.add(Some(index), "name", "name is taken twice, rename one");
        }
        features.push((index, feature));
    }
    features
}

/// Reads one section; adds its problems to `problems`.
fn feature(index: usize, table: &Table, problems: &mut Problems<'_>) -> Option<Feature> {
    let before = problems.count();
    let mut wrong = |key: &str, problem: String| problems.add(Some(index), key, &problem);
    let name = match table.get("name") {
        Some(Value::String(name)) if is_name(name) => Some(name.clone()),
        Some(other) => {
            let remedy = "write small letters, digits and _, beginning with a letter";
            wrong("name", format!("name = {other}: {remedy}"));
            None
        }
        None => {
            wrong("name", "name is missing, add name = \"...\"".to_owned());
            None
        }
    };
    let aggregate = aggregate(table, &mut wrong);
    let field = field(table, aggregate, &mut wrong);
    let window_ms = window(table, aggregate, &mut wrong);
    let filter = match table.get("where") {
        None => Filter::default(),
        Some(found) => conditions::read(found, |problem| wrong("where", problem)),
    };
    let known = ["name", "aggregate", "field", "window", "where"];
    unknown(table, &known, Some(index), problems);
    if problems.count() > before {
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

fn aggregate(table: &Table, wrong: &mut impl FnMut(&str, String)) -> Option<Aggregate> {
    let named = |name: &str| {
        Aggregate::ALL
            .into_iter()
            .find(|known| known.name() == name)
    };
    let found = table.get("aggregate");
    let aggregate = found.and_then(Value::as_str).and_then(named);
    if aggregate.is_none() {
        let known = Aggregate::ALL.map(Aggregate::name).join(", ");
        let problem = match found {
            Some(other) => format!("aggregate = {other}: write one of {known}"),
            None => format!("aggregate is missing, add one of {known}"),
        };
        wrong("aggregate", problem);
    }
    aggregate
}

fn field(
    table: &Table,
    aggregate: Option<Aggregate>,
    wrong: &mut impl FnMut(&str, String),
) -> Option<String> {
    let needed = aggregate.map(Aggregate::takes_field);
    match table.get("field") {
        Some(Value::String(field)) if !field.is_empty() => {
            if needed == Some(false) {
                let name = aggregate.map_or("", Aggregate::name);
                let problem = format!("field = {field:?}: {name} takes no field, remove it");
                wrong("field", problem);
            }
            Some(field.clone())
        }
        Some(other) => {
            let remedy = "write the name of the event's field as a text";
            wrong("field", format!("field = {other}: {remedy}"));
            None
        }
        None => {
            if needed == Some(true) {
                let name = aggregate.map_or("", Aggregate::name);
                let remedy = "needs one, as in field = \"amount\"";
                wrong("field", format!("field is missing: {name} {remedy}"));
            }
            None
        }
    }
}

fn window(
    table: &Table,
    aggregate: Option<Aggregate>,
    wrong: &mut impl FnMut(&str, String),
) -> Option<i64> {
    let Some(found) = table.get("window") else {
        if aggregate.is_some_and(|known| !known.may_go_without_window()) {
            let problem =
                "window is missing, add one from \"1m\" to \"30d\", as in window = \"24h\"";
            wrong("window", problem.to_owned());
        }
        return None;
    };
    let millis = found
        .as_str()
        .and_then(|text| humantime::parse_duration(text).ok())
        .and_then(|length| i64::try_from(length.as_millis()).ok())
        .filter(|millis| WINDOW_MS.contains(millis));
    if millis.is_none() {
        let remedy = "write a text from \"1m\" to \"30d\", as in \"24h\"";
        wrong("window", format!("window = {found}: {remedy}"));
    }
    millis
}

fn unknown(table: &Table, known: &[&str], feature: Option<usize>, problems: &mut Problems<'_>) {
    for key in table.keys().filter(|key| !known.contains(&key.as_str())) {
        let problem = format!("{key} {}", unknown_key(key, known));
        problems.add(feature, key, &problem);
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
            "line 4: retention is unknown",
            "line 2: timestamp = 3: name the event's field",
            "line 3: ttl_s = \"2d\": write whole seconds, 60 to",
            "line 6: feature Total: name = \"Total\": write small letters",
            "line 7: feature Total: aggregate = \"median\": write one of count",
            "line 9: feature spend: field is missing: sum needs one",
            "line 12: feature spend: window = \"25x\": write a text from \"1m\" to \"30d\"",
            "line 13: feature spend: colour is unknown",
            "line 17: feature spend: field = \"amount\": count takes no field, remove it",
            "line 18: feature spend: window = \"31d\"",
            "line 19: feature spend: where.action = [\"purchase\"]: write a text",
            "line 20: feature 4: name is missing",
            "line 22: feature 4: field = 7: write the name",
            "line 20: feature 4: window is missing",
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
            ["line 6: feature a: name is taken twice, rename one"]
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
            ("timestamp", 2_592_000)
        );
        assert_eq!(
            file.features[0].filter.to_string(),
            "a = true, b = 2, c = \"x\""
        );
        assert_eq!(file.features[0].window_ms, None);
        assert_eq!(file.features[1].window_ms, Some(30 * DAY_MS));
    }
    #[test]
    fn a_hash_lives_as_long_as_its_longest_window_at_least() {
        let file = |ttl: &str, window: &str| {
            let feature = "[[feature]]\nname='a'\naggregate='count'\nwindow=";
            parse(&format!("{ttl}\n{feature}'{window}'"))
        };
        let table = [
            ("", "24h", Ok(172_800)),
            ("", "48h", Ok(172_800)),
            ("", "30d", Ok(2_592_000)),
            ("", "172800001ms", Ok(172_801)),
            ("ttl_s = 172800", "48h", Ok(172_800)),
            ("ttl_s = 60", "1m", Ok(60)),
            (
                "ttl_s = 172799",
                "48h",
                Err("line 1: ttl_s = 172799: shorter than the longest window, write 172800"),
            ),
            (
                "ttl_s = 59",
                "1m",
                Err("line 1: ttl_s = 59: write whole seconds, 60 to"),
            ),
            (
                "ttl_s = 0",
                "1m",
                Err("line 1: ttl_s = 0: write whole seconds"),
            ),
            (
                "ttl_s = 600.5",
                "1m",
                Err("line 1: ttl_s = 600.5: write whole seconds"),
            ),
        ];
        for (ttl, window, expected) in table {
            match (file(ttl, window), expected) {
                (Ok(file), Ok(ttl_s)) => assert_eq!(file.ttl_s, ttl_s, "{ttl} {window}"),
                (Err(problems), Err(begin)) => {
                    assert!(problems[0].starts_with(begin), "{problems:?}")
                }
                (outcome, _) => panic!("{ttl} {window}: {:?}", outcome.map(|file| file.ttl_s)),
            }
        }
    }

    #[test]
    fn conditions_that_no_record_fulfils_are_refused() {
        let table = [
            (
                "amount = \">100\"",
                "where.amount = \">100\": the field is a number",
            ),
            (
                "amount = \"100\"",
                "where.amount = \"100\": the field is a number",
            ),
            (
                "amount = true",
                "where.amount = true: the field is a number",
            ),
            (
                "price = \"7\"",
                "where.price = \"7\": the field is a number",
            ),
            ("action = 1", "where.action = 1: the field is a text"),
            ("action = true", "where.action = true: the field is a text"),
            (
                "timestamp = false",
                "where.timestamp = false: the field is a time",
            ),
            ("amount = 100", ""),
            ("price = 7.5", ""),
            ("action = \"view\"", ""),
            ("country = \"DE\"", ""),
            ("new = true", ""),
            ("shop = \"7\"", ""),
        ];
        for (condition, expected) in table {
            let text = format!(
                "[[feature]]\nname = 'a'\naggregate = 'count'\nwindow = '1m'\nwhere = {{ {condition} }}\n\
                 [[feature]]\nname = 'b'\naggregate = 'sum'\nfield = 'price'\nwindow = '1m'\n\
                 [[feature]]\nname = 'c'\naggregate = 'distinct'\nfield = 'shop'\nwindow = '1m'\n"
            );
            let problems = parse(&text).err().unwrap_or_default();
            match expected {
                "" => assert!(problems.is_empty(), "{problems:?}"),
                begin => {
                    let begin = format!("line 5: feature a: {begin}");
                    assert!(
                        problems.len() == 1 && problems[0].starts_with(&begin),
                        "{problems:?}"
                    );
                }
            }
        }
    }
}
