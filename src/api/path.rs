//! Paths of what is in an object: `spec.http[0].match`, `metadata.labels[app]`.

use std::fmt;

/// A place within an object: a link to where it is in, so that nothing is written while all is right.
#[derive(Clone, Copy, Debug)]
pub enum Path<'a> {
    /// The object itself.
    Root,
    /// A field.
    Field(&'a Self, &'a str),
    /// An item of a list.
    Item(&'a Self, usize),
    /// A value of a map.
    Key(&'a Self, &'a str),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, at) => write!(f, "{parent}[{at}]"),
            Self::Key(parent, key) => write!(f, "{parent}[{key}]"),
        }
    }
}
