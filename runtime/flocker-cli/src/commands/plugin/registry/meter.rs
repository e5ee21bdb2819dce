//! Bytes on their way: counted, bounded, and shown if that takes longer than a second.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use oci_client::errors::OciDistributionError;
use tokio_stream::Stream;

/// What is over sooner needs no bar.
const PATIENCE: Duration = Duration::from_secs(1);
/// What is sent at once: small enough that the bar moves on a slow line.
const PIECE: usize = 64 << 10;

/// A bar that appears when people begin to wonder.
#[derive(Debug)]
struct Bar {
    bar: ProgressBar,
    since: Instant,
}

impl Bar {
    fn new(total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        // The template is a constant; should it ever not parse, the default bar does as well.
        if let Ok(style) =
            ProgressStyle::with_template("[{bar:26}] {bytes} of {total_bytes}, {bytes_per_sec}")
        {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar: bar.with_finish(ProgressFinish::AndClear), since: Instant::now() }
    }

    fn advance(&self, bytes: usize) {
        self.bar.inc(bytes as u64);
        // On no terminal it stays hidden.
        if self.bar.is_hidden() && self.since.elapsed() > PATIENCE {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}

/// What is fetched, at most as many bytes as are taken.
#[derive(Debug)]
pub(super) struct Meter {
    bytes: Vec<u8>,
    max: u64,
    bar: Bar,
}

impl Meter {
    pub(super) fn new(size: u64) -> Self {
        Self { bytes: Vec::new(), max: size, bar: Bar::new(size) }
    }

    /// Adds a piece; not if there would be too much then.
    pub(super) fn add(&mut self, piece: &[u8]) -> bool {
        let fits = (self.bytes.len() + piece.len()) as u64 <= self.max;
        if fits {
            self.bytes.extend_from_slice(piece);
            self.bar.advance(piece.len());
        }
        fits
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// What is sent, piece by piece.
pub(super) fn pieces(
    bytes: bytes::Bytes,
) -> impl Stream<Item = Result<bytes::Bytes, OciDistributionError>> + Send + 'static {
    let bar = Bar::new(bytes.len() as u64);
    let starts = (0..bytes.len()).step_by(PIECE);
    tokio_stream::iter(starts.map(move |start| {
        let piece = bytes.slice(start..bytes.len().min(start + PIECE));
        bar.advance(piece.len());
        Ok(piece)
    }))
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;

    use super::*;

    #[test]
    fn no_more_is_taken_than_was_announced() {
        let mut meter = Meter::new(4);
        assert!(meter.add(b"abc"));

        assert!(!meter.add(b"de"));
        assert_eq!(meter.into_bytes(), b"abc");
    }

    #[tokio::test]
    async fn the_pieces_are_the_whole() {
        for length in [0, 1, PIECE, PIECE + 1, 3 * PIECE] {
            let whole: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let sent: Vec<_> =
                pieces(whole.clone().into()).collect::<Result<_, _>>().await.unwrap();
            assert_eq!(sent.concat(), whole);
        }
    }
}
