//! Where the members of a document are in its text.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// From 1.
    pub line: u64,
    /// In characters, from 1.
    pub column: u64,
}

/// The positions of all members and items of a document in YAML. JSON is YAML, too.
#[derive(Debug)]
pub struct Positions(Spanned<Tree>);

#[derive(Debug)]
enum Tree {
    Scalar,
    Items(Vec<Spanned<Self>>),
    Members(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl Positions {
    /// Reads the positions; none if the text cannot be parsed.
    #[must_use]
    pub fn read(text: &[u8], max_depth: usize) -> Option<Self> {
        let tree = serde_saphyr::from_slice_with_options(text, super::options(max_depth));
        tree.ok().map(Self)
    }

    /// The position of a JSON pointer (RFC 6901), or of its deepest part that exists: of the name
    /// of a member, and of the start of an item.
    #[must_use]
    pub fn of(&self, pointer: &str) -> Position {
        let (mut tree, mut place) = (&self.0.value, self.0.referenced);
        for token in pointer.split('/').skip(1) {
            let token = token.replace("~1", "/").replace("~0", "~");
            match tree {
                Tree::Scalar => break,
                Tree::Items(items) => {
                    let Some(item) = token.parse::<usize>().ok().and_then(|i| items.get(i)) else {
                        break;
                    };
                    (tree, place) = (&item.value, item.referenced);
                }
                Tree::Members(members) => {
                    let Some((name, value)) = members.iter().find(|(name, _)| name.value == token)
                    else {
                        break;
                    };
                    (tree, place) = (&value.value, name.referenced);
                }
            }
        }
        Position {
            line: place.line(),
            column: place.column(),
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_unit<E: Error>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_none<E: Error>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Tree::Items(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Tree, A::Error> {
        let mut all = Vec::new();
        while let Some(member) = members.next_entry()? {
            all.push(member);
        }
        Ok(Tree::Members(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, pointer: &str) -> (u64, u64) {
        let position = Positions::read(text.as_bytes(), 128).unwrap().of(pointer);
        (position.line, position.column)
    }

    #[test]
    fn positions_in_yaml_and_json() {
        let yaml = "document: {dsl: '1.0.3'}\ndo:\n  - a:\n      set:\n        é: 1\n        b/c: [x, y]\n";
        assert_eq!(at(yaml, "/document/dsl"), (1, 12));
        assert_eq!(at(yaml, "/do/0/a/set"), (4, 7));
        assert_eq!(at(yaml, "/do/0/a/set/é"), (5, 9));
        assert_eq!(at(yaml, "/do/0/a/set/b~1c/1"), (6, 18));
        // The deepest part that exists.
        assert_eq!(at(yaml, "/do/0/a/call/with"), (3, 5));
        let json = "{\n  \"definition\": {\"do\": [\n\t{\"a\": {\"set\": {\"x\": 1}}}]}}";
        assert_eq!(at(json, "/definition/do"), (2, 18));
        assert_eq!(at(json, "/definition/do/0/a/set/x"), (3, 17));
    }

    #[test]
    fn text_that_cannot_be_parsed_has_no_positions() {
        assert!(Positions::read(b"a: [", 128).is_none());
        assert!(Positions::read(b"[[[[", 2).is_none());
    }
}
