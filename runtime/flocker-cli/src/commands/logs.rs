//! `flocker app logs`: the output of containers, whole lines where several of them speak.

use std::collections::BTreeMap;

use flocker_api::{Client, Failure, v1};
use serde_json::json;

use crate::terminal::{self, Answer};

/// A line that never ends is cut there, so that it does not fill the memory.
const LINE_MAX: usize = 64 << 10;

/// Prints what comes until the end, or until nobody reads it. `all` containers are told apart by a prefix.
pub(super) async fn print(
    client: &mut Client,
    request: v1::LogsRequest,
    all: bool,
    json: bool,
) -> Result<Answer, Failure> {
    let mut chunks = client.app_logs(request).await?;
    let mut lines = Lines::default();
    while let Some(chunk) = chunks.next().await? {
        let printed = if json {
            terminal::print_json(&chunk_json(&chunk))
        } else if all {
            terminal::print_bytes(&lines.add(&chunk))
        } else if chunk.stderr {
            terminal::say_bytes(&chunk.bytes);
            Ok(())
        } else {
            terminal::print_bytes(&chunk.bytes)
        };
        if printed.is_err() {
            return Ok(Answer::nothing());
        }
    }
    // If nobody reads any more there is nobody to tell.
    let _ = terminal::print_bytes(&lines.rest());
    Ok(Answer::nothing())
}

fn chunk_json(chunk: &v1::LogChunk) -> serde_json::Value {
    json!({
        "container": chunk.container,
        "stream": if chunk.stderr { "stderr" } else { "stdout" },
        "text": String::from_utf8_lossy(&chunk.bytes),
    })
}

/// The unfinished line of each container's stdout and stderr.
#[derive(Debug, Default)]
struct Lines(BTreeMap<(String, bool), Vec<u8>>);

impl Lines {
    /// The lines that are complete with this chunk, each with its container.
    fn add(&mut self, chunk: &v1::LogChunk) -> Vec<u8> {
        let line = self.0.entry((chunk.container.clone(), chunk.stderr)).or_default();
        let mut complete = Vec::new();
        for byte in &chunk.bytes {
            if *byte != b'\n' {
                line.push(*byte);
            }
            if *byte == b'\n' || line.len() >= LINE_MAX {
                finish(&mut complete, &chunk.container, line);
            }
        }
        complete
    }

    /// What was never finished.
    fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        for ((container, _), line) in self.0.iter_mut().filter(|(_, line)| !line.is_empty()) {
            finish(&mut rest, container, line);
        }
        rest
    }
}

fn finish(out: &mut Vec<u8>, container: &str, line: &mut Vec<u8>) {
    out.extend_from_slice(container.as_bytes());
    out.extend_from_slice(b" | ");
    out.append(line);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(container: &str, stderr: bool, bytes: &str) -> v1::LogChunk {
        v1::LogChunk {
            container: container.to_owned(),
            stderr,
            bytes: bytes.as_bytes().to_vec().into(),
        }
    }

    #[test]
    fn lines_of_two_containers_are_not_mixed() {
        let mut lines = Lines::default();
        let mut out = Vec::new();
        for chunk in [
            chunk("web", false, "GET "),
            chunk("db", false, "ready\nsav"),
            chunk("web", true, "warning\n"),
            chunk("web", false, "/\n"),
            chunk("db", false, "ing"),
        ] {
            out.extend(lines.add(&chunk));
        }
        out.extend(lines.rest());
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "db | ready\nweb | warning\nweb | GET /\ndb | saving\n"
        );
    }
}
