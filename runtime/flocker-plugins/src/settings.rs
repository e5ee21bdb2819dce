//! Settings are checked against the plugin's own JSON schema before the plugin sees them.

use serde_json::Value;

use crate::{chatter::tame, effort, load::Refusal};

/// Problems that are shown at once.
const PROBLEMS_MAX: usize = 5;
/// The largest schema that is compiled: checking is work that the plugin makes for the host.
const SCHEMA_BYTES_MAX: usize = 64 << 10;
/// A compiled pattern of a schema is no larger; a few letters can stand for billions.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// What stands for no settings.
pub(crate) const NONE: &str = "{}";

/// Settings as a plugin is given them.
pub(crate) fn given(text: &str) -> &str {
    if text.trim().is_empty() { NONE } else { text }
}

/// Reads settings.
pub(crate) fn parse(text: &str) -> Result<Value, Refusal> {
    serde_json::from_str(text).map_err(|e| Refusal::Settings(format!("they are not JSON: {e}")))
}

/// Compares settings with a schema; an empty schema says nothing about them.
pub(crate) fn check(schema: &str, settings: &Value) -> Result<(), Refusal> {
    if schema.trim().is_empty() {
        return Ok(());
    }
    if schema.len() > SCHEMA_BYTES_MAX {
        return Err(Refusal::Schema(format!("it has more than {SCHEMA_BYTES_MAX} bytes")));
    }
    let broken = |e: String| Refusal::Schema(tame(&e, 200));
    let schema: Value = serde_json::from_str(schema).map_err(|e| broken(e.to_string()))?;
    effort::check(&schema, settings).map_err(broken)?;
    let validator = jsonschema::options()
        // The default engine for patterns backtracks without end; this one takes linear time.
        .with_pattern_options(jsonschema::PatternOptions::regex().size_limit(PATTERN_BYTES_MAX))
        .build(&schema)
        .map_err(|e| broken(e.to_string()))?;
    let problems: Vec<_> = validator
        .iter_errors(settings)
        .take(PROBLEMS_MAX)
        .map(|e| {
            let place = e.instance_path().to_string();
            let place =
                if place.is_empty() { "the whole".to_owned() } else { format!("`{place}`") };
            format!("{place}: {}", tame(&e.to_string(), 200))
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(Refusal::Settings(problems.join("; "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(schema: &str, settings: &str) -> Result<(), String> {
        check(schema, &parse(settings).map_err(|e| e.to_string())?).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let schema = r#"{"type":"object","additionalProperties":false,
            "properties":{"prefer":{"type":"string"},"weights":{"type":"array","items":{"type":"integer"}}}}"#;
        assert_eq!(checked(schema, r#"{"prefer":"ssd"}"#), Ok(()));
        let said = checked(schema, r#"{"weights":[1,"two"]}"#).unwrap_err();
        assert!(said.contains("`/weights/1`") && said.contains("integer"), "{said}");
        let said = checked(schema, r#"{"pefer":"ssd"}"#).unwrap_err();
        assert!(said.contains("pefer"), "{said}");
    }

    #[test]
    fn a_schema_that_is_none_is_the_plugins_fault() {
        let said = checked(r#"{"type": 7}"#, "{}").unwrap_err();
        assert!(said.contains("schema"), "{said}");
        let said = checked(r##"{"$ref":"http://example.com/x"}"##, "{}").unwrap_err();
        assert!(said.contains("schema"), "{said}");
    }

    #[test]
    fn a_pattern_that_takes_for_ever_elsewhere_does_not_here() {
        let schema = r#"{"properties":{"a":{"pattern":"^(a+)+$"}}}"#;
        let settings = format!(r#"{{"a":"{}!"}}"#, "a".repeat(5000));
        assert!(checked(schema, &settings).unwrap_err().contains("`/a`"));
    }
}
