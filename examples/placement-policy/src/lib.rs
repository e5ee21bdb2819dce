//! Prefers the nodes of one zone, and among them the one with the most free memory. Settings: `{"zone": "eu"}`.

use flocker_sdk::{Node, Placement, Policy, Request, Score};

/// The policy, with its settings.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreferZone {
    zone: String,
}

impl Policy for PreferZone {
    const SETTINGS_SCHEMA: &str = r#"{
        "type": "object",
        "properties": { "zone": { "type": "string", "description": "The zone that apps are kept in" } },
        "required": ["zone"],
        "additionalProperties": false
    }"#;

    fn configure(&mut self, settings: &str) -> Result<(), String> {
        *self = flocker_sdk::settings(settings)?;
        Ok(())
    }
}

impl Placement for PreferZone {
    fn score(&self, node: &Node, request: &Request) -> Score {
        let zone = node.label("zone").unwrap_or_default();
        // Apps may ask for a zone of their own.
        if *zone == *request.label("zone").unwrap_or(&self.zone) {
            // From 5000 for a full node to 10000 for an empty one.
            Score::share(node.memory() + node.memory_free(), 2 * node.memory())
        } else {
            Score::good(1000).because_with(|| format!("it is in zone `{zone}`"))
        }
    }
}

flocker_sdk::export!(PreferZone);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_in_the_zone_wins_even_when_it_is_full() {
        let mut policy = PreferZone::default();
        policy.configure(r#"{"zone": "eu"}"#).unwrap();
        let full = Node::sample("a").with_memory(100, 100).with_label("zone", "eu");
        let empty = Node::sample("b").with_memory(100, 0).with_label("zone", "us");
        let app = Request::sample("shop");

        assert!(policy.score(&full, &app).points() > policy.score(&empty, &app).points());
    }

    #[test]
    fn the_apps_own_wish_counts_more() {
        let policy = PreferZone { zone: "eu".into() };
        let us = Node::sample("b").with_memory(100, 0).with_label("zone", "us");
        let app = Request::sample("shop").with_label("zone", "us");

        assert_eq!(policy.score(&us, &app), Score::good(10_000));
    }

    #[test]
    fn a_setting_that_does_not_exist_is_refused() {
        assert!(PreferZone::default().configure(r#"{"zona": "eu"}"#).is_err());
    }
}
