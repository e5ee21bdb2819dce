//! How much work a schema makes, found out before it is used. A plugin's schema is checked by the host's own code, which
//! neither fuel nor a clock ends: a few lines that refer to each other can take for ever, or more stack than there is.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

/// Keywords that are looked at. Schemas of large policies need hundreds.
const STEPS_MAX: u64 = 100_000;
/// A pattern is compiled, and may become a thousand times as large as it is written.
const STEPS_PER_PATTERN: u64 = 1000;
/// Schemas in each other, references included: each takes stack.
const NESTED_MAX: usize = 200;

/// Says why a schema is too much work for a document that is nested so deep.
pub(crate) fn check(schema: &Value, document: &Value) -> Result<(), String> {
    let known = HashMap::new();
    let mut effort = Effort { root: schema, known, open: HashSet::new(), nested: 0 };
    let steps = effort.of(schema, nesting(document))?;
    if steps > STEPS_MAX {
        return Err(format!("checking it takes more than {STEPS_MAX} steps"));
    }
    Ok(())
}

fn nesting(document: &Value) -> usize {
    match document {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        Value::Array(all) => 1 + all.iter().map(nesting).max().unwrap_or(0),
        Value::Object(all) => 1 + all.values().map(nesting).max().unwrap_or(0),
    }
}

/// A schema, by its address, and how deep in the document it is applied.
type Place = (*const Value, usize);

struct Effort<'a> {
    root: &'a Value,
    /// Steps of what was referred to.
    known: HashMap<Place, u64>,
    /// What is being counted.
    open: HashSet<Place>,
    nested: usize,
}

impl<'a> Effort<'a> {
    /// Steps to check one value, which holds values that are nested so deep.
    fn of(&mut self, schema: &'a Value, depth: usize) -> Result<u64, String> {
        let Value::Object(keywords) = schema else { return Ok(1) };
        if self.nested == NESTED_MAX {
            return Err(format!("it is nested more than {NESTED_MAX} deep"));
        }
        self.nested += 1;
        let (mut steps, mut again) = (1_u64, 1_u64);
        for (keyword, value) in keywords {
            let more = match keyword.as_str() {
                "$ref" => self.referred(value, depth)?,
                "$dynamicRef" | "$recursiveRef" => {
                    return Err(format!("it uses `{keyword}`, which this host does not"));
                }
                "$id" | "$anchor" if !std::ptr::eq(schema, self.root) => {
                    return Err(format!("it has a `{keyword}` inside"));
                }
                "allOf" | "anyOf" | "oneOf" | "not" | "if" | "then" | "else" => {
                    self.each(value, depth)?
                }
                "dependentSchemas" | "dependencies" => self.named(value, depth)?,
                "pattern" => STEPS_PER_PATTERN,
                "properties" => self.inside(depth, |this, deeper| this.named(value, deeper))?,
                "patternProperties" => {
                    let patterns = value.as_object().map_or(0, serde_json::Map::len) as u64;
                    let below = self.inside(depth, |this, deeper| this.named(value, deeper))?;
                    below.saturating_add(patterns.saturating_mul(STEPS_PER_PATTERN))
                }
                // What is beside it is looked at a second time, to see what it left over.
                "unevaluatedProperties" | "unevaluatedItems" => {
                    again = again.saturating_mul(2);
                    self.inside(depth, |this, deeper| this.each(value, deeper))?
                }
                "additionalProperties"
                | "propertyNames"
                | "items"
                | "prefixItems"
                | "additionalItems"
                | "contains" => self.inside(depth, |this, deeper| this.each(value, deeper))?,
                _ => 1,
            };
            steps = steps.saturating_add(more);
        }
        self.nested -= 1;
        Ok(steps.saturating_mul(again))
    }

    /// What applies to the values in a value; where there are none, nothing does.
    fn inside(
        &mut self,
        depth: usize,
        count: impl FnOnce(&mut Self, usize) -> Result<u64, String>,
    ) -> Result<u64, String> {
        depth.checked_sub(1).map_or(Ok(1), |deeper| count(self, deeper))
    }

    /// One schema, or a list of them.
    fn each(&mut self, value: &'a Value, depth: usize) -> Result<u64, String> {
        let Value::Array(schemas) = value else { return self.of(value, depth) };
        self.sum(schemas.iter(), depth)
    }

    /// Schemas that have names.
    fn named(&mut self, value: &'a Value, depth: usize) -> Result<u64, String> {
        let Value::Object(schemas) = value else { return Ok(1) };
        self.sum(schemas.values(), depth)
    }

    fn sum(
        &mut self,
        mut schemas: impl Iterator<Item = &'a Value>,
        depth: usize,
    ) -> Result<u64, String> {
        schemas.try_fold(0_u64, |sum, schema| Ok(sum.saturating_add(self.of(schema, depth)?)))
    }

    fn referred(&mut self, value: &Value, depth: usize) -> Result<u64, String> {
        let reference = value.as_str().unwrap_or_default();
        let root = self.root;
        let target = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        let Some(target) = target else {
            return Err(format!("it refers to `{reference}`, which is not a place in it"));
        };
        let place = (std::ptr::from_ref(target), depth);
        if let Some(steps) = self.known.get(&place) {
            return Ok(*steps);
        }
        if !self.open.insert(place) {
            return Err(format!("`{reference}` refers to itself"));
        }
        let steps = self.of(target, depth)?;
        self.open.remove(&place);
        self.known.insert(place, steps);
        Ok(steps)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn refused(schema: &Value, words: &str) {
        let said = check(schema, &json!({ "a": { "b": [1] } })).unwrap_err();
        assert!(said.contains(words), "{said}");
    }

    #[test]
    fn what_authors_write_is_little_work() {
        let schema = json!({
            "$id": "https://example.com/settings", "type": "object", "additionalProperties": false,
            "properties": {
                "$ref": { "type": "string" },
                "tree": { "$ref": "#/$defs/tree" },
                "zone": { "anyOf": [{ "pattern": "^[a-z]+$" }, { "$ref": "#/$defs/none" }] },
            },
            "$defs": {
                "none": { "type": "null" },
                "tree": { "properties": { "left": { "$ref": "#/$defs/tree" }, "right": { "$ref": "#/$defs/tree" } } },
            },
        });
        let settings = json!({ "tree": { "left": { "left": {}, "right": {} } }, "zone": "east" });
        assert_eq!(check(&schema, &settings), Ok(()));
    }

    #[test]
    fn what_never_ends_is_refused() {
        refused(&json!({ "allOf": [{ "$ref": "#" }] }), "`#` refers to itself");
        let ring = json!({ "a": { "$ref": "#/$defs/b" }, "b": { "not": { "$ref": "#/$defs/a" } } });
        refused(&json!({ "$ref": "#/$defs/a", "$defs": ring }), "refers to itself");
        refused(&json!({ "$dynamicRef": "#x" }), "`$dynamicRef`");
        refused(&json!({ "not": { "$id": "x" } }), "`$id` inside");
    }

    #[test]
    fn what_takes_too_long_is_refused() {
        let mut doubling = json!({ "type": "object" });
        for n in 0..40 {
            let next = json!({ "$ref": format!("#/$defs/{n}") });
            doubling[format!("{}", n + 1)] = json!({ "oneOf": [next, next] });
        }
        doubling["0"] = json!({});
        refused(&json!({ "$ref": "#/$defs/40", "$defs": doubling }), "more than 100000 steps");
        let mut twice = json!({});
        for _ in 0..20 {
            twice = json!({ "unevaluatedProperties": false, "allOf": [twice] });
        }
        refused(&twice, "more than 100000 steps");
        let patterns: Vec<_> =
            (0..101).map(|n| json!({ "pattern": format!("a{{{n}}}") })).collect();
        refused(&json!({ "anyOf": patterns }), "more than 100000 steps");
    }

    #[test]
    fn what_takes_too_much_stack_is_refused() {
        let mut chain = json!({ "300": true });
        for n in 0..300 {
            chain[format!("{n}")] = json!({ "$ref": format!("#/$defs/{}", n + 1) });
        }
        refused(&json!({ "$ref": "#/$defs/0", "$defs": chain }), "more than 200 deep");
    }

    #[test]
    fn what_lies_elsewhere_is_refused() {
        for reference in ["http://127.0.0.1/x", "file:///etc/passwd", "other", "#/nowhere", "#x"] {
            refused(&json!({ "$ref": reference }), "is not a place in it");
        }
    }
}
