//! Settings as a type of the author's own.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Reads settings into a type of your own (feature `settings`).
///
/// # Errors
/// What is wrong with them, and where.
pub fn settings<T: DeserializeOwned>(json: &str) -> Result<T, String> {
    serde_json::from_str(json).map_err(|e| e.to_string())
}

/// For tests: the settings that a schema gives as defaults, so that a test can compare them with what the policy really
/// does without settings (feature `settings`).
///
/// # Errors
/// The schema is not JSON, or one of its properties has no default.
pub fn schema_defaults<T: DeserializeOwned>(schema: &str) -> Result<T, String> {
    let schema: Value = settings(schema)?;
    let properties = schema.get("properties").and_then(Value::as_object);
    let default = |(name, property): (&String, &Value)| match property.get("default") {
        Some(value) => Ok((name.clone(), value.clone())),
        None => Err(format!("`{name}` has no default")),
    };
    let defaults = properties.into_iter().flatten().map(default).collect::<Result<Map<_, _>, _>>();
    serde_json::from_value(Value::Object(defaults?)).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_found_or_missed() {
        let schema = r#"{"properties": {"a": {"default": 1}, "b": {"default": "x"}}}"#;
        assert_eq!(schema_defaults(schema), Ok(serde_json::json!({"a": 1, "b": "x"})));
        let missing = r#"{"properties": {"a": {"type": "integer"}}}"#;
        let said: Result<Value, _> = schema_defaults(missing);
        assert_eq!(said, Err("`a` has no default".to_owned()));
    }
}
