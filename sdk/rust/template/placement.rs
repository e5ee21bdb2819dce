//! Says where apps should be: here, where the most memory is left.

use flocker_sdk::{Node, Placement, Policy, Request, Score};

#[derive(Debug, Default)]
pub struct {{type}};

impl Policy for {{type}} {}

impl Placement for {{type}} {
    fn score(&self, node: &Node, request: &Request) -> Score {
        // Where the app is already, its memory is among the promised.
        let added = if request.is_at(node) {
            0
        } else {
            request.memory()
        };
        let left = node.memory().saturating_sub(node.memory_promised() + added);
        Score::share(left, node.memory()).because_with(|| format!("{} apps", node.apps()))
    }
}

flocker_sdk::export!({{type}});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_emptier_node_is_better() {
        let empty = Node::sample("a").with_memory(100, 0);
        let full = Node::sample("b").with_memory(100, 90);
        let app = Request::sample("shop").with_memory(5);

        assert!({{type}}.score(&empty, &app).points() > {{type}}.score(&full, &app).points());
    }
}
