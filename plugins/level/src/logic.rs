//! Which pieces to move between places so that all are about equally full, from plain numbers.
//!
//! Fill is thought of as water: a place is a vessel of width `whole`, filled up to `taken / whole`. A piece that moves falls
//! from its height in one vessel to its height in the other, and is moved only if it falls by `margin` at least. So the
//! water sinks with every move, the levels come closer, and it ends.

/// A node.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// All of what is levelled; more than nothing.
    pub(crate) whole: f64,
    /// What is taken of it.
    pub(crate) taken: f64,
    pub(crate) memory_free: u64,
    pub(crate) pool_free: u64,
}

impl Place {
    fn level(&self) -> f64 {
        self.taken / self.whole
    }

    fn fits(&self, piece: &Piece) -> bool {
        piece.memory <= self.memory_free && piece.size <= self.pool_free
    }
}

/// An app.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    /// Where it is.
    pub(crate) at: usize,
    /// What it takes of what is levelled.
    pub(crate) amount: f64,
    pub(crate) memory: u64,
    pub(crate) size: u64,
}

/// A move.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) piece: usize,
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// How full both were before.
    pub(crate) from_level: f64,
    pub(crate) to_level: f64,
    /// How much closer the levels are for it, in percentage points.
    pub(crate) gain: f64,
}

/// At most `steps_max` moves, the best first, a piece once.
pub(crate) fn plan(
    mut places: Vec<Place>,
    pieces: &mut [Piece],
    margin: f64,
    steps_max: usize,
) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    while steps.len() < steps_max {
        let resting = |piece: &usize| steps.iter().all(|step| step.piece != *piece);
        let Some((piece, to)) = best(&places, pieces, margin, resting) else { break };
        let (from, before) = (pieces[piece].at, spread(&places));
        let (from_level, to_level) = (places[from].level(), places[to].level());
        carry(&mut places, &mut pieces[piece], to);
        let gain = 100.0 * (before - spread(&places));
        steps.push(Step { piece, from, to, from_level, to_level, gain });
    }
    steps
}

/// The piece whose move lets the water sink most, and where to.
fn best(
    places: &[Place],
    pieces: &[Piece],
    margin: f64,
    may_move: impl Fn(&usize) -> bool,
) -> Option<(usize, usize)> {
    let mut by_level: Vec<_> = (0..places.len()).collect();
    by_level.sort_by(|a, b| places[*a].level().total_cmp(&places[*b].level()));
    let mut best = None;
    let mut best_work = 0.0;
    for (number, piece) in pieces.iter().enumerate().filter(|(number, _)| may_move(number)) {
        let fits = |to: &&usize| **to != piece.at && places[**to].fits(piece);
        let Some(to) = by_level.iter().find(fits) else { continue };
        let fall = fall(&places[piece.at], &places[*to], piece.amount);
        let work = fall * piece.amount;
        if fall >= margin && work > best_work {
            (best, best_work) = (Some((number, *to)), work);
        }
    }
    best
}

/// How far the middle of a piece falls from the top of one place to the top of another.
fn fall(from: &Place, to: &Place, amount: f64) -> f64 {
    (from.level() - amount / from.whole / 2.0) - (to.level() + amount / to.whole / 2.0)
}

fn carry(places: &mut [Place], piece: &mut Piece, to: usize) {
    let from = &mut places[piece.at];
    from.taken -= piece.amount;
    from.memory_free += piece.memory;
    from.pool_free += piece.size;
    let target = &mut places[to];
    target.taken += piece.amount;
    target.memory_free -= piece.memory;
    target.pool_free -= piece.size;
    piece.at = to;
}

/// How far levels are from their mean (the standard deviation), a large place counting more than a small one.
fn spread(places: &[Place]) -> f64 {
    let whole: f64 = places.iter().map(|p| p.whole).sum();
    let mean = places.iter().map(|p| p.taken).sum::<f64>() / whole;
    let squares = places.iter().map(|p| p.whole * (p.level() - mean).powi(2));
    (squares.sum::<f64>() / whole).sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(whole: u32, taken: u32) -> Place {
        let free = u64::from(whole.saturating_sub(taken));
        Place { whole: whole.into(), taken: taken.into(), memory_free: free, pool_free: 1000 }
    }

    fn piece(at: usize, amount: u32) -> Piece {
        Piece { at, amount: amount.into(), memory: amount.into(), size: 0 }
    }

    fn moves(places: &[Place], pieces: &[Piece]) -> Vec<(usize, usize)> {
        let steps = plan(places.to_vec(), &mut pieces.to_vec(), 0.1, 10);
        steps.into_iter().map(|step| (step.piece, step.to)).collect()
    }

    #[test]
    fn two_places_that_are_equally_full_are_both_relieved() {
        let places = [place(100, 60), place(100, 60), place(100, 0)];
        let pieces = [piece(0, 20), piece(1, 20)];
        assert_eq!(moves(&places, &pieces), [(0, 2), (1, 2)]);
    }

    #[test]
    fn a_piece_that_would_only_change_places_with_the_gap_stays() {
        assert_eq!(moves(&[place(100, 60), place(100, 0)], &[piece(0, 60)]), []);
    }

    #[test]
    fn where_it_does_not_fit_it_does_not_go() {
        let mut small = place(100, 0);
        small.memory_free = 10;
        let places = [place(100, 90), small, place(100, 20)];
        assert_eq!(moves(&places, &[piece(0, 30)]), [(0, 2)]);
    }

    #[test]
    fn pieces_of_unknown_size_are_left_alone() {
        assert_eq!(moves(&[place(100, 90), place(100, 0)], &[piece(0, 0)]), []);
    }

    fn world() -> impl Strategy<Value = (Vec<Place>, Vec<Piece>)> {
        let wholes = proptest::collection::vec(50u32..500, 2..6);
        let amounts = proptest::collection::vec((any::<prop::sample::Index>(), 0u32..60), 0..20);
        (wholes, amounts).prop_map(|(wholes, amounts)| {
            let mut places: Vec<_> = wholes.into_iter().map(|whole| place(whole, 0)).collect();
            let mut pieces = Vec::new();
            for (at, amount) in amounts {
                let at = at.index(places.len());
                places[at].taken += f64::from(amount);
                places[at].memory_free = places[at].memory_free.saturating_sub(amount.into());
                pieces.push(piece(at, amount));
            }
            (places, pieces)
        })
    }

    proptest! {
        /// Whoever follows its advice and asks again gets closer each time, and comes to rest.
        #[test]
        fn following_its_moves_levels_and_ends((mut places, mut pieces) in world(), margin in 1u32..50, at_once in 1usize..4) {
            let margin = f64::from(margin) / 100.0;
            // The water stands this high; each move lets it sink by twice the smallest amount times the margin.
            let height: f64 = places.iter().map(|p| p.taken * p.level()).sum();
            let enough = height / (2.0 * margin) + 1.0;
            let mut moved = 0.0;
            loop {
                let steps = plan(places.clone(), &mut pieces.clone(), margin, at_once);
                prop_assert!(steps.len() <= at_once);
                for step in &steps {
                    let before = spread(&places);
                    prop_assert!(pieces[step.piece].at == step.from && places[step.to].fits(&pieces[step.piece]));
                    carry(&mut places, &mut pieces[step.piece], step.to);
                    prop_assert!(spread(&places) < before && step.gain > 0.0);
                    moved += 1.0;
                }
                prop_assert!(moved <= enough, "{moved} moves");
                if steps.is_empty() {
                    break;
                }
            }
        }

        /// An app is moved once at most, however many moves are wanted.
        #[test]
        fn no_piece_is_moved_twice((places, mut pieces) in world()) {
            let mut moved: Vec<_> = plan(places, &mut pieces, 0.01, 100).into_iter().map(|s| s.piece).collect();
            let all = moved.len();
            moved.sort_unstable();
            moved.dedup();
            prop_assert_eq!(moved.len(), all);
        }
    }
}
