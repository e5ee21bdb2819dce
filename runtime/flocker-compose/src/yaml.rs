//! YAML as a small tree that knows its lines. It refuses what a Compose file has no use for: tags, several documents,
//! keys that are given twice, and nesting or aliases without measure.
//!
//! Built on the parser's events and not on a ready-made tree: those drop the first of two equal keys, lose the lines of
//! keys, and copy aliases of aliases until the memory is full.

use std::{collections::BTreeMap, ops::Range};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use crate::{Problem, TEXT_MAX};

/// The deepest nesting. Compose's own deepest key lies at 6; the readers of the tree are recursive.
const DEPTH_MAX: usize = 32;

/// Nodes of the tree with all aliases written out. A file of aliases to aliases grows without bound otherwise; a file of a
/// hundred containers has some thousands.
const NODES_MAX: usize = 20_000;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) value: Value,
    /// Whether it is text without quotes, which YAML may call a number.
    pub(crate) plain: bool,
}

/// What a node holds. Numbers and truth values stay text: what they mean depends on the key.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// The key of an entry and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// A scalar that is a value, not a key, and where it stands in the text.
#[derive(Debug)]
pub(crate) struct ScalarSpan {
    pub(crate) line: usize,
    pub(crate) text: String,
    /// Whether it is written with `|` or `>`.
    pub(crate) block: bool,
    /// In bytes.
    pub(crate) range: Range<usize>,
}

/// The tree of a file that holds one document.
pub(crate) fn load(text: &str) -> Result<Node, Problem> {
    Ok(Loader::run(text)?.0)
}

/// The tree, and the scalars that are values in the order of the text.
pub(crate) fn load_with_scalars(text: &str) -> Result<(Node, Vec<ScalarSpan>), Problem> {
    let (node, scalars) = Loader::run(text)?;
    // The parser counts characters, `str` counts bytes.
    let mut bytes: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    bytes.push(text.len());
    let at = |idx: usize| bytes.get(idx).copied().unwrap_or(text.len());
    let scalars = scalars
        .into_iter()
        .map(|s| ScalarSpan { range: at(s.range.start)..at(s.range.end), ..s })
        .collect();
    Ok((node, scalars))
}

struct Loader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: BTreeMap<usize, (Node, usize)>,
    scalars: Vec<ScalarSpan>,
    n_nodes: usize,
}

impl<'a> Loader<'a> {
    fn run(text: &'a str) -> Result<(Node, Vec<ScalarSpan>), Problem> {
        if text.len() > TEXT_MAX {
            return Err(Problem::new(1, "", format!("the file is longer than {TEXT_MAX} bytes")));
        }
        let mut loader = Self {
            parser: Parser::new_from_str(text),
            anchors: BTreeMap::new(),
            scalars: Vec::new(),
            n_nodes: 0,
        };
        let root = loader.document()?;
        Ok((root, loader.scalars))
    }

    fn document(&mut self) -> Result<Node, Problem> {
        let mut root = None;
        loop {
            match self.next()? {
                (Event::StreamEnd, span) => {
                    return root.ok_or_else(|| {
                        Problem::new(span.start.line().max(1), "", "the file is empty")
                            .hint("it needs at least `services:` with one container")
                    });
                }
                (
                    Event::Nothing
                    | Event::StreamStart
                    | Event::DocumentStart(_)
                    | Event::DocumentEnd,
                    _,
                ) => {}
                (event, span) if root.is_none() => root = Some(self.node(event, span, 0, false)?),
                (_, span) => {
                    return Err(Problem::new(
                        span.start.line(),
                        "",
                        "a second document in the same file",
                    ));
                }
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Problem> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(e)) => Err(Problem::new(
                e.marker().line().max(1),
                "",
                format!("this is not valid YAML: {}", e.info()),
            )),
            // It comes after `StreamEnd`, where nobody asks any more.
            None => Err(Problem::new(1, "", "the YAML ends in the middle")),
        }
    }

    fn node(
        &mut self,
        event: Event<'a>,
        span: Span,
        depth: usize,
        key: bool,
    ) -> Result<Node, Problem> {
        let line = span.start.line();
        self.count(1, line)?;
        if depth > DEPTH_MAX {
            return Err(Problem::new(
                line,
                "",
                format!("nested more than {DEPTH_MAX} levels deep"),
            ));
        }
        let before = self.n_nodes;
        let plain = matches!(event, Event::Scalar(_, ScalarStyle::Plain, ..));
        let (value, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, line),
            Event::Scalar(text, style, anchor, tag) => {
                refuse_tag(tag.as_deref(), line)?;
                let null = style == ScalarStyle::Plain
                    && matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL");
                if !key {
                    let range = span.start.index()..span.end.index();
                    let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                    self.scalars.push(ScalarSpan { line, text: text.to_string(), block, range });
                }
                (if null { Value::Null } else { Value::Text(text.into_owned()) }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), line)?;
                (self.list(depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), line)?;
                (self.map(depth)?, anchor)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => {
                return Err(Problem::new(line, "", "the YAML ends in the middle"));
            }
        };
        let node = Node { line, value, plain };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), self.n_nodes - before + 1));
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, line: usize) -> Result<Node, Problem> {
        // An anchor counts only once its node is complete, so an alias to a node from within it ends here as well.
        let Some((node, size)) = self.anchors.get(&anchor) else {
            return Err(Problem::new(
                line,
                "",
                "this alias leads to nothing that stands before it",
            ));
        };
        let (node, size) = (node.clone(), *size);
        self.count(size, line)?;
        Ok(Node { line, ..node })
    }

    fn list(&mut self, depth: usize) -> Result<Value, Problem> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, span) => items.push(self.node(event, span, depth + 1, false)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Problem> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut merged: Option<Node> = None;
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let key = as_key(self.node(event, span, depth + 1, true)?)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1, false)?;
            if key.text == "<<" {
                if merged.replace(value).is_some() {
                    let what = "`<<` is given twice";
                    return Err(
                        Problem::new(key.line, "", what).hint("merge several with `<<: [*a, *b]`")
                    );
                }
            } else if let Some((first, _)) = entries.iter().find(|(k, _)| k.text == key.text) {
                let what = format!("`{}` is given twice, first on line {}", key.text, first.line);
                return Err(Problem::new(key.line, "", what));
            } else {
                entries.push((key, value));
            }
        }
        merged.into_iter().try_for_each(|node| merge(node, &mut entries))?;
        Ok(Value::Map(entries))
    }

    fn count(&mut self, more: usize, line: usize) -> Result<(), Problem> {
        self.n_nodes = self.n_nodes.saturating_add(more);
        if self.n_nodes > NODES_MAX {
            return Err(Problem::new(
                line,
                "",
                format!("with its aliases the file has more than {NODES_MAX} values"),
            ));
        }
        Ok(())
    }
}

/// `<<: *defaults` and `<<: [*a, *b]`: what is written out goes before what is merged, the earlier before the later.
fn merge(node: Node, entries: &mut Vec<(Key, Node)>) -> Result<(), Problem> {
    match node.value {
        Value::Map(from) => {
            for (key, value) in from {
                if !entries.iter().any(|(k, _)| k.text == key.text) {
                    entries.push((key, value));
                }
            }
            Ok(())
        }
        Value::List(items) if items.iter().all(|i| matches!(i.value, Value::Map(_))) => {
            items.into_iter().try_for_each(|item| merge(item, entries))
        }
        Value::Null | Value::Text(_) | Value::List(_) => {
            Err(Problem::new(node.line, "", "`<<` takes a mapping, or a list of mappings"))
        }
    }
}

fn as_key(node: Node) -> Result<Key, Problem> {
    match node.value {
        Value::Text(text) => Ok(Key { line: node.line, text }),
        Value::Null | Value::List(_) | Value::Map(_) => {
            Err(Problem::new(node.line, "", "a key must be text"))
        }
    }
}

fn refuse_tag(tag: Option<&Tag>, line: usize) -> Result<(), Problem> {
    match tag {
        Some(tag) => Err(Problem::new(
            line,
            "",
            format!("the YAML tag `{}{}` is not supported", tag.handle, tag.suffix),
        )),
        None => Ok(()),
    }
}
