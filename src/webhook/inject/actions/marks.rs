//! What is put into a template so that it can be told where it failed, and stopped: before each action a call that notes its
//! line, and after each call of a function one that looks at what it gave.

use gotmpl::parse::{ActionNode, BranchNode, CommandNode, Expr, ListNode, Node, Number, PipeNode, Pos};

/// Notes a line. Templates cannot call it: it is no name in their language.
pub(super) const AT: &str = "\u{1}at";
/// Gives what it is given, if that is not too large.
pub(super) const BOUNDED: &str = "\u{1}bounded";

/// A template with marks.
pub(super) fn put(list: ListNode) -> ListNode {
    let nodes = list.nodes.into_iter().flat_map(|node| {
        let mark = position(&node).map(at);
        mark.into_iter().chain([marked(node)])
    });
    ListNode { pos: list.pos, nodes: nodes.collect() }
}

/// Where something is that can fail.
fn position(node: &Node) -> Option<Pos> {
    match node {
        Node::Action(action) => Some(action.pos),
        Node::If(branch) | Node::Range(branch) | Node::With(branch) => Some(branch.pos),
        Node::Template(part) => Some(part.pos),
        Node::List(_) | Node::Text(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_) => None,
    }
}

fn marked(node: Node) -> Node {
    match node {
        Node::List(list) => Node::List(put(list)),
        Node::Action(action) => Node::Action(ActionNode { pipe: bounded(action.pipe), ..action }),
        Node::If(branch) => Node::If(branch_marked(branch)),
        Node::Range(branch) => Node::Range(branch_marked(branch)),
        Node::With(branch) => Node::With(branch_marked(branch)),
        Node::Template(mut part) => {
            part.pipe = part.pipe.map(bounded);
            Node::Template(part)
        }
        node => node,
    }
}

fn branch_marked(branch: BranchNode) -> BranchNode {
    let BranchNode { pos, pipe, body, else_body } = branch;
    BranchNode { pos, pipe: bounded(pipe), body: put(body), else_body: else_body.map(put) }
}

fn at(pos: Pos) -> Node {
    let line = Number::Int(i64::try_from(pos.line).unwrap_or_default());
    let args = vec![Expr::Identifier(pos, AT.into()), Expr::Number(pos, line)];
    let pipe = PipeNode { pos, decl: Vec::new(), commands: vec![CommandNode { pos, args }], is_assign: false };
    Node::Action(ActionNode { pos, pipe })
}

fn bounded(pipe: PipeNode) -> PipeNode {
    let commands = pipe.commands.into_iter().flat_map(|command| {
        let is_call = matches!(command.args.first(), Some(Expr::Identifier(..)));
        let args = command.args.into_iter().map(bounded_within).collect();
        let look = CommandNode { pos: command.pos, args: vec![Expr::Identifier(command.pos, BOUNDED.into())] };
        [CommandNode { pos: command.pos, args }].into_iter().chain(is_call.then_some(look))
    });
    PipeNode { commands: commands.collect(), ..pipe }
}

fn bounded_within(value: Expr) -> Expr {
    match value {
        Expr::Pipe(pos, pipe) => Expr::Pipe(pos, bounded(pipe)),
        Expr::Chain(pos, inner, fields) => Expr::Chain(pos, Box::new(bounded_within(*inner)), fields),
        value => value,
    }
}

/// The functions that a template calls, with their lines.
pub(super) fn calls(list: &ListNode) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    in_list(list, &mut found);
    found
}

fn in_list(list: &ListNode, found: &mut Vec<(String, usize)>) {
    for node in &list.nodes {
        match node {
            Node::List(list) => in_list(list, found),
            Node::Action(action) => in_pipe(&action.pipe, found),
            Node::If(branch) | Node::Range(branch) | Node::With(branch) => {
                in_pipe(&branch.pipe, found);
                in_list(&branch.body, found);
                branch.else_body.iter().for_each(|list| in_list(list, found));
            }
            Node::Template(part) => part.pipe.iter().for_each(|pipe| in_pipe(pipe, found)),
            Node::Define(part) => in_list(&part.body, found),
            Node::Text(_) | Node::Break(_) | Node::Continue(_) => {}
        }
    }
}

fn in_pipe(pipe: &PipeNode, found: &mut Vec<(String, usize)>) {
    pipe.commands.iter().flat_map(|command| &command.args).for_each(|value| in_value(value, found));
}

fn in_value(value: &Expr, found: &mut Vec<(String, usize)>) {
    match value {
        Expr::Identifier(pos, name) => found.push((name.to_string(), pos.line)),
        Expr::Pipe(_, pipe) => in_pipe(pipe, found),
        Expr::Chain(_, inner, _) => in_value(inner, found),
        _ => {}
    }
}
