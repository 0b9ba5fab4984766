//! On which line of a file a field is.
//!
//! Looked up only where something is to be said about a field: the text is parsed again, this time for places alone.

use saphyr_parser::{Event, Parser, ScalarStyle};

/// The lines of everything within one document.
#[derive(Debug)]
pub struct Lines {
    nodes: Vec<Node>,
    /// The line before the document, which is added to all.
    before: u32,
}

#[derive(Debug)]
struct Node {
    /// Of the key, where the value is that of one.
    line: u32,
    inside: Inside,
}

#[derive(Debug)]
enum Inside {
    Scalar,
    /// A text whose lines are lines of the file, as they stand, and the line before them.
    Literal(String, u32),
    Map(Vec<(String, usize)>),
    List(Vec<usize>),
}

/// A map or list whose end has not come.
struct Open {
    node: usize,
    /// The key whose value comes next, and its line.
    key: Option<(String, u32)>,
}

impl Lines {
    /// Of the text of one document; `before` lines precede it. What cannot be parsed has no lines of its own.
    #[must_use]
    pub fn of(text: &str, before: u32) -> Self {
        let mut lines = Self { nodes: Vec::new(), before };
        let mut open: Vec<Open> = Vec::new();
        for event in Parser::new_from_str(text) {
            let Ok((event, span)) = event else { break };
            let line = u32::try_from(span.start.line()).unwrap_or(u32::MAX);
            match event {
                Event::Scalar(text, style, ..) => lines.scalar(&mut open, &text, style, line),
                Event::Alias(_) => lines.scalar(&mut open, "", ScalarStyle::Plain, line),
                Event::MappingStart(..) => lines.start(&mut open, Inside::Map(Vec::new()), line),
                Event::SequenceStart(..) => lines.start(&mut open, Inside::List(Vec::new()), line),
                Event::MappingEnd | Event::SequenceEnd => drop(open.pop()),
                Event::DocumentEnd => break,
                _ => {}
            }
        }
        lines
    }

    fn scalar(&mut self, open: &mut [Open], text: &str, style: ScalarStyle, line: u32) {
        if let Some(parent) = open.last_mut()
            && parent.key.is_none()
            && matches!(self.nodes[parent.node].inside, Inside::Map(_))
        {
            parent.key = Some((text.to_owned(), line));
            return;
        }
        let inside = match style {
            // Its line is the first one that is not empty.
            ScalarStyle::Literal => {
                let empty = text.bytes().take_while(|b| *b == b'\n').count();
                Inside::Literal(text.to_owned(), line.saturating_sub(1 + u32::try_from(empty).unwrap_or(u32::MAX)))
            }
            _ => Inside::Scalar,
        };
        self.add(open, inside, line);
    }

    fn start(&mut self, open: &mut Vec<Open>, inside: Inside, line: u32) {
        let node = self.add(open, inside, line);
        open.push(Open { node, key: None });
    }

    /// Adds a value to what is open.
    fn add(&mut self, open: &mut [Open], inside: Inside, line: u32) -> usize {
        let new = self.nodes.len();
        self.nodes.push(Node { line, inside });
        if let Some(parent) = open.last_mut() {
            let key = parent.key.take();
            match &mut self.nodes[parent.node].inside {
                Inside::List(items) => items.push(new),
                Inside::Map(members) => {
                    let (name, line) = key.unwrap_or_default();
                    members.push((name, new));
                    // A key that is itself a map or a list has none.
                    if line > 0 {
                        self.nodes[new].line = line;
                    }
                }
                Inside::Scalar | Inside::Literal(..) => {}
            }
        }
        new
    }

    /// The line of a field such as `spec.http[0].timeout`, or of the nearest that there is around it; `data.mesh: a.b` is a
    /// field of the YAML in a text. `item`: within that item of a `List`.
    #[must_use]
    pub fn line_of(&self, item: Option<usize>, path: &str) -> Option<u32> {
        let mut at = 0;
        if let Some(item) = item {
            at = self.member(at, "items").and_then(|list| self.item(list, item)).unwrap_or(at);
        }
        let mut rest = path;
        while let Some((inner, behind)) = self.step(at, rest) {
            (at, rest) = (inner, behind);
        }
        let node = self.nodes.get(at)?;
        let own = node.line.saturating_add(self.before);
        match (&node.inside, rest.strip_prefix(": ")) {
            (Inside::Literal(text, before), Some(path)) => {
                Self::of(text, before.saturating_add(self.before)).line_of(None, path).or(Some(own))
            }
            _ => Some(own),
        }
    }

    fn member(&self, at: usize, name: &str) -> Option<usize> {
        match &self.nodes.get(at)?.inside {
            Inside::Map(members) => members.iter().find(|(key, _)| key == name).map(|(_, node)| *node),
            _ => None,
        }
    }

    fn item(&self, at: usize, index: usize) -> Option<usize> {
        match &self.nodes.get(at)?.inside {
            Inside::List(items) => items.get(index).copied(),
            _ => None,
        }
    }

    /// One step into a value, and the rest of the path. Keys may contain what separates keys: the longest counts.
    fn step<'p>(&self, at: usize, path: &'p str) -> Option<(usize, &'p str)> {
        let path = path.strip_prefix('.').unwrap_or(path);
        let within = path.strip_prefix('[');
        match &self.nodes.get(at)?.inside {
            Inside::Scalar | Inside::Literal(..) => None,
            Inside::List(items) => {
                let (index, rest) = within?.split_once(']')?;
                Some((*items.get(index.parse::<usize>().ok()?)?, rest))
            }
            Inside::Map(members) => {
                let behind = |key: &str| {
                    let quoted = within.and_then(|rest| rest.trim_start_matches('"').strip_prefix(key));
                    let closed = quoted.and_then(|rest| rest.trim_start_matches('"').strip_prefix(']'));
                    closed.or_else(|| {
                        let ends =
                            |rest: &&str| rest.is_empty() || rest.starts_with(['.', '[']) || rest.starts_with(": ");
                        path.strip_prefix(key).filter(ends)
                    })
                };
                let fitting = members.iter().filter(|(key, _)| !key.is_empty());
                let fitting = fitting.filter_map(|(key, node)| Some((key.len(), *node, behind(key)?)));
                fitting.max_by_key(|(length, ..)| *length).map(|(_, node, rest)| (node, rest))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    const TEXT: &str = "kind: A
metadata:
  annotations:
    a.b/c: x
spec:
  http:
  - timeout: 1s
    route: [{destination: {host: a}},
            {destination:
              {host: b}}]
  # a comment
  - match:
      - uri: {exact: /}
    base: &b {x: 1}
    use: *b
  ? [a, b]
  : c
";

    #[test]
    fn fields_are_found_where_their_keys_are() {
        let lines = Lines::of(TEXT, 10);
        for (path, line) in [
            ("", 11),
            ("metadata.annotations.a.b/c", 14),
            ("metadata.annotations[a.b/c]", 14),
            ("metadata.annotations[\"a.b/c\"]", 14),
            ("spec.http", 16),
            ("spec.http[0]", 17),
            ("spec.http[0].timeout", 17),
            ("spec.http[0].route[1].destination.host", 20),
            ("spec.http[1].match[0].uri.exact", 23),
            ("spec.http[1].match[0].uri.exact.more", 23),
            ("spec.http[1].timeout", 22),
            ("spec.http[7].timeout", 16),
            ("spec.http[1].use.x", 25),
            ("nothing", 11),
        ] {
            assert_eq!(lines.line_of(None, path), Some(line), "{path}");
        }
    }

    #[test]
    fn items_of_lists_and_json_have_lines_too() {
        let lines = Lines::of("{\n\"kind\": \"List\",\n\"items\": [\n{\"a\": 1},\n{\"a\":\n\t2}]}", 0);
        assert_eq!(lines.line_of(Some(1), "a"), Some(5));
        assert_eq!(lines.line_of(Some(0), ""), Some(4));
    }

    #[test]
    fn yaml_within_a_text_has_lines_too() {
        let text = "data:\n  other: |\n    a: 1\n  mesh: |-\n\n    a: 1\n    b:\n      c: [x,\n          y]\n  quoted: \"a: 1\\nb: 2\"\n";
        let lines = Lines::of(text, 10);
        for (path, line) in [
            ("data.mesh", 14),
            ("data.mesh: a", 16),
            ("data.mesh: b.c[1]", 19),
            ("data.mesh: nothing", 16),
            ("data.other: a", 13),
            ("data.quoted: b", 20),
        ] {
            assert_eq!(lines.line_of(None, path), Some(line), "{path}");
        }
    }

    #[test]
    fn what_cannot_be_parsed_ends_there() {
        assert_eq!(Lines::of("a: 1\nb: [", 0).line_of(None, "a"), Some(1));
        assert_eq!(Lines::of("", 0).line_of(None, "a"), None);
    }
}
