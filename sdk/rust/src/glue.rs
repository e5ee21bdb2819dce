//! Between the component's exports and the author's type. Not for authors.

use std::{cell::RefCell, marker::PhantomData, rc::Rc};

use crate::{
    Node, Placement, Request, Score,
    bindings::exports::flocker::plugin::{lifecycle, placement},
    node::Table,
};

/// What [`crate::export!`] knows of the author's crate.
pub trait Author: 'static {
    /// The policy.
    type Policy: Placement;
    /// The crate's name.
    const NAME: &'static str;
    /// The crate's version.
    const VERSION: &'static str;
}

/// Implements the exports.
#[derive(Debug)]
pub struct Component<A>(PhantomData<A>);

thread_local! {
    /// The configured policy. A component has one thread and one policy; a generic type cannot have a static of its own.
    static POLICY: RefCell<Option<Rc<dyn ScoreAll>>> = const { RefCell::new(None) };
}

/// [`Placement`] without the parts that need to know its type.
trait ScoreAll {
    fn score_all(&self, nodes: &[Node], request: &Request) -> Vec<Score>;
}

impl<P: Placement> ScoreAll for P {
    fn score_all(&self, nodes: &[Node], request: &Request) -> Vec<Score> {
        Placement::score_all(self, nodes, request)
    }
}

impl<A: Author> lifecycle::Guest for Component<A> {
    fn describe() -> lifecycle::Info {
        crate::log::install_panic_hook();
        lifecycle::Info {
            name: A::NAME.into(),
            version: A::VERSION.into(),
            settings_schema: String::new(),
            attrs: Vec::new(),
        }
    }

    fn configure(settings: String) -> Result<(), lifecycle::Failure> {
        crate::log::install_panic_hook();
        let mut policy = A::Policy::default();
        // 1 is "the settings are not understood" in wit/codes.md.
        let refuse = |message| lifecycle::Failure { code: 1, message, retry_after_ms: None };
        policy.configure(&settings).map_err(refuse)?;
        POLICY.set(Some(Rc::new(policy)));
        Ok(())
    }
}

impl<A: Author> placement::Guest for Component<A> {
    fn evaluate(
        _context: placement::Context,
        cluster: &placement::View,
        request: placement::Request,
        candidates: Vec<u32>,
    ) -> Result<placement::Verdict, placement::Failure> {
        let policy = POLICY.with_borrow(Clone::clone);
        // The host configures before it asks; another one might not.
        let policy = policy.unwrap_or_else(|| Rc::new(A::Policy::default()));
        let table = Rc::new(Table::of_host(cluster));
        let nodes: Vec<_> =
            candidates.iter().map(|row| Node::new(Rc::clone(&table), *row)).collect();
        let scores = policy.score_all(&nodes, &Request::of_host(request));
        drop(nodes);
        Ok(verdict(&candidates, scores))
    }
}

fn verdict(candidates: &[u32], scores: Vec<Score>) -> placement::Verdict {
    let mut verdict = placement::Verdict {
        scores: Vec::new(),
        reasons: Vec::new(),
        ask_again_ms: None,
        attrs: Vec::new(),
    };
    for (position, score) in scores.into_iter().enumerate() {
        verdict.scores.push(score.points());
        if let (Some(candidate), Some((code, text))) =
            (candidates.get(position), score.into_reason())
        {
            verdict.reasons.push(placement::Reason { candidate: *candidate, code, text });
        }
    }
    verdict
}
