//! Apps say by labels of their containers where they want to be: `placement.require.KEY=VALUE`,
//! `placement.prefer.KEY=VALUE`, `placement.apart=GROUP`, `placement.together=GROUP`.

mod logic;

use flocker_sdk::{Node, Placement, Policy, Request, Score};

use crate::logic::{Neighbour, Opinion, Rules, opinion};

/// Glue between the SDK and the logic.
#[derive(Debug, Default)]
pub struct Labels;

impl Policy for Labels {}

impl Placement for Labels {
    fn score(&self, node: &Node, request: &Request) -> Score {
        let rules = Rules::of(request.labels());
        // Who else is there is looked up only for apps that care.
        let neighbours = if rules.groups() { neighbours(node, request.name()) } else { Vec::new() };
        let first_here = |other: &str| request.is_at(node) && request.name() < other;
        match opinion(&rules, |key| node.label(key), &neighbours, first_here) {
            Opinion::Refused { code, why } => Score::refuse(why).code(code),
            // Without wishes all nodes are the same to it.
            Opinion::Allowed { wishes: 0, remark, .. } => remarked(Score::good(5000), remark),
            Opinion::Allowed { met, wishes, remark } => remarked(Score::share(met, wishes), remark),
        }
    }
}

fn remarked(score: Score, remark: String) -> Score {
    if remark.is_empty() { score } else { score.because(remark) }
}

/// The apps that are on a node, without the one that is asked about.
fn neighbours(node: &Node, but: &str) -> Vec<Neighbour> {
    let neighbour = |app: flocker_sdk::App| Neighbour {
        apart: app.label(logic::APART),
        together: app.label(logic::TOGETHER),
        name: app.name(),
    };
    node.residents().into_iter().map(neighbour).filter(|n| n.name != but).collect()
}

flocker_sdk::export!(Labels);

#[cfg(test)]
mod tests {
    use flocker_sdk::{App, Cluster};

    use super::*;

    /// `a` in zone east holds web-1, of the group web; `b` in zone west holds nothing.
    fn cluster() -> Cluster<'static> {
        let web = App::sample("web-1").on("a");
        Cluster::sample(
            [
                Node::sample("a").with_label("zone", "east"),
                Node::sample("b").with_label("zone", "west"),
            ],
            [web.with_label("placement.apart", "web").with_label("placement.together", "web")],
            [],
            [],
        )
    }

    fn scores(request: &Request) -> [Score; 2] {
        let cluster = cluster();
        ["a", "b"].map(|node| Labels.score(&cluster.node(node), request))
    }

    #[test]
    fn an_app_without_rules_may_go_anywhere() {
        assert_eq!(scores(&Request::sample("shop")), [Score::good(5000), Score::good(5000)]);
    }

    #[test]
    fn what_an_app_requires_is_a_condition_and_what_it_prefers_is_not() {
        let required = Request::sample("shop").with_label("placement.require.zone", "west");
        let [a, b] = scores(&required);
        assert!(a.is_refusal() && !b.is_refusal(), "{a:?} {b:?}");

        let preferred = Request::sample("shop").with_label("placement.prefer.zone", "west");
        assert_eq!(scores(&preferred).map(|s| s.points()), [0, 10_000]);
    }

    #[test]
    fn groups_keep_apart_or_together() {
        let apart = Request::sample("web-2").with_label("placement.apart", "web");
        assert_eq!(scores(&apart).map(|s| s.is_refusal()), [true, false]);

        let together = Request::sample("web-2").with_label("placement.together", "web");
        assert_eq!(scores(&together).map(|s| s.points()), [10_000, 0]);
    }

    #[test]
    fn an_app_is_not_its_own_neighbour() {
        let cluster = cluster();
        let itself = Request::sample("web-1").with_label("placement.apart", "web");
        let a = cluster.node("a");
        assert!(!Labels.score(&a, &itself.at(&a)).is_refusal());
    }

    #[test]
    fn of_two_that_are_together_against_the_rule_one_stays() {
        let cluster = cluster();
        let a = cluster.node("a");
        let app = |name| Request::sample(name).with_label("placement.apart", "web").at(&a);
        assert!(Labels.score(&a, &app("web-2")).is_refusal());
        assert!(!Labels.score(&a, &app("web-0")).is_refusal());
    }
}
