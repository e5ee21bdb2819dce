//! What an app's labels mean for one node, from plain texts.

use std::rc::Rc;

/// The label that names the group an app keeps away from.
pub(crate) const APART: &str = "placement.apart";
/// The label that names the group an app keeps close to.
pub(crate) const TOGETHER: &str = "placement.together";

/// What an app wants.
#[derive(Debug, Default)]
pub(crate) struct Rules<'a> {
    require: Vec<(&'a str, &'a str)>,
    prefer: Vec<(&'a str, &'a str)>,
    apart: Option<&'a str>,
    together: Option<&'a str>,
    /// Labels that look like rules and are none.
    strange: Vec<&'a str>,
}

impl<'a> Rules<'a> {
    pub(crate) fn of(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut rules = Self::default();
        for (label, value) in labels {
            let Some(rule) = label.strip_prefix("placement.") else { continue };
            match rule.split_once('.') {
                Some(("require", key)) => rules.require.push((key, value)),
                Some(("prefer", key)) => rules.prefer.push((key, value)),
                None if label == APART => rules.apart = Some(value),
                None if label == TOGETHER => rules.together = Some(value),
                Some(_) | None => rules.strange.push(label),
            }
        }
        rules
    }

    /// Whether it matters who else is on a node.
    pub(crate) fn groups(&self) -> bool {
        self.apart.is_some() || self.together.is_some()
    }
}

/// Another app on the node.
#[derive(Debug)]
pub(crate) struct Neighbour {
    pub(crate) name: String,
    pub(crate) apart: Option<Rc<str>>,
    pub(crate) together: Option<Rc<str>>,
}

/// What the rules say of a node.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opinion {
    /// The app must not go there; the code is one of wit/codes.md.
    Refused { code: u32, why: String },
    /// It may, and so many of its wishes are met.
    Allowed { met: u64, wishes: u64, remark: String },
}

/// `may_stay_beside` says of a neighbour that the app was there first, as it were: two that are on one node against the
/// rule would otherwise both leave, and meet again elsewhere.
pub(crate) fn opinion(
    rules: &Rules,
    label: impl Fn(&str) -> Option<Rc<str>>,
    neighbours: &[Neighbour],
    may_stay_beside: impl Fn(&str) -> bool,
) -> Opinion {
    for (key, value) in &rules.require {
        let has = label(key);
        if has.as_deref() != Some(value) {
            let has = has.map_or("not set".to_owned(), |has| format!("`{has}`"));
            let why = format!("label `{key}` is {has}, `{value}` is required");
            return Opinion::Refused { code: 4, why };
        }
    }
    let rival = |n: &&Neighbour| {
        rules.apart.is_some() && n.apart.as_deref() == rules.apart && !may_stay_beside(&n.name)
    };
    if let (Some(group), Some(rival)) = (rules.apart, neighbours.iter().find(rival)) {
        let why = format!("`{}` is there, of the group `{group}` too", rival.name);
        return Opinion::Refused { code: 7, why };
    }
    let wanted = |(key, value): &&(&str, &str)| label(key).as_deref() == Some(*value);
    let mut met = rules.prefer.iter().filter(wanted).count() as u64;
    let mut wishes = rules.prefer.len() as u64;
    if rules.together.is_some() {
        wishes += 1;
        met += u64::from(neighbours.iter().any(|n| n.together.as_deref() == rules.together));
    }
    Opinion::Allowed { met, wishes, remark: remark(rules, met, wishes) }
}

fn remark(rules: &Rules, met: u64, wishes: u64) -> String {
    let mut parts = Vec::new();
    if wishes > 0 {
        parts.push(format!("{met} of {wishes} wishes met"));
    }
    parts.extend(rules.strange.iter().map(|label| format!("label `{label}` is no rule")));
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(labels: &[(&str, &str)]) -> Opinion {
        let on_the_node = |key: &str| (key == "zone").then(|| "east".into());
        let rules = Rules::of(labels.iter().copied());
        let neighbour = Neighbour {
            name: "web-1".into(),
            apart: Some("web".into()),
            together: Some("cache".into()),
        };
        opinion(&rules, on_the_node, &[neighbour], |_| false)
    }

    fn allowed(met: u64, wishes: u64, remark: &str) -> Opinion {
        Opinion::Allowed { met, wishes, remark: remark.into() }
    }

    fn refused(code: u32, why: &str) -> Opinion {
        Opinion::Refused { code, why: why.into() }
    }

    #[test]
    fn each_rule_says_what_it_is_about() {
        let table = [
            (vec![], allowed(0, 0, "")),
            (vec![("placement.require.zone", "east")], allowed(0, 0, "")),
            (
                vec![("placement.require.zone", "west")],
                refused(4, "label `zone` is `east`, `west` is required"),
            ),
            (
                vec![("placement.require.disk", "ssd")],
                refused(4, "label `disk` is not set, `ssd` is required"),
            ),
            (
                vec![("placement.prefer.zone", "east"), ("placement.prefer.disk", "ssd")],
                allowed(1, 2, "1 of 2 wishes met"),
            ),
            (
                vec![("placement.apart", "web")],
                refused(7, "`web-1` is there, of the group `web` too"),
            ),
            (vec![("placement.apart", "db")], allowed(0, 0, "")),
            (vec![("placement.together", "cache")], allowed(1, 1, "1 of 1 wishes met")),
            (vec![("placement.together", "web")], allowed(0, 1, "0 of 1 wishes met")),
        ];
        for (labels, expected) in table {
            assert_eq!(asked(&labels), expected, "{labels:?}");
        }
    }

    #[test]
    fn a_mistyped_rule_is_pointed_out_and_other_labels_are_not() {
        let said = asked(&[("placement.requires.zone", "west"), ("traefik.enable", "true")]);
        assert_eq!(said, allowed(0, 0, "label `placement.requires.zone` is no rule"));
    }

    #[test]
    fn a_key_may_have_dots_itself() {
        let said = asked(&[("placement.require.kubernetes.io/arch", "arm64")]);
        let why = "label `kubernetes.io/arch` is not set, `arm64` is required";
        assert_eq!(said, refused(4, why));
    }
}
