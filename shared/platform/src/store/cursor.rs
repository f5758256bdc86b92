//! Pages of lists, newest first. A cursor is valid only for the list that it came from.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::secrets::{Keyring, Purpose};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// Newest first.
    pub items: Vec<T>,
    /// The start of the next page; none after the last one.
    pub next: Option<Cursor>,
}

/// The start of a page: after the item with this id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(pub(super) String);

/// The requested page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// 1 to 100.
    pub limit: usize,
    /// The start of the page.
    pub after: Option<Cursor>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this list")]
pub struct InvalidCursor;

impl Cursor {
    /// A cursor of a list that is not read from a range.
    #[must_use]
    pub fn at(position: String) -> Self {
        Self(position)
    }

    #[must_use]
    pub fn position(&self) -> &str {
        &self.0
    }

    /// The sealed cursor. `list` identifies the tenant, the route and the query that it is valid
    /// for.
    #[must_use]
    pub fn seal(&self, keyring: &Keyring, list: &str) -> String {
        let mac = keyring.hash(Purpose::Cursor, &[list.as_bytes(), self.0.as_bytes()]);
        URL_SAFE_NO_PAD.encode(format!("{}~{mac}", self.0))
    }

    /// Opens a sealed cursor.
    ///
    /// # Errors
    ///
    /// When it was not sealed for the same list.
    pub fn open(keyring: &Keyring, list: &str, text: &str) -> Result<Self, InvalidCursor> {
        if text.len() > 1_024 {
            return Err(InvalidCursor);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCursor)?;
        let text = String::from_utf8(bytes).map_err(|_| InvalidCursor)?;
        let (position, mac) = text.rsplit_once('~').ok_or(InvalidCursor)?;
        if keyring.is_hash(
            Purpose::Cursor,
            &[list.as_bytes(), position.as_bytes()],
            mac,
        ) {
            Ok(Self(position.to_owned()))
        } else {
            Err(InvalidCursor)
        }
    }
}

impl<T> Page<T> {
    /// A page from items of which one more than `limit` was read, to know whether there are more.
    pub(super) fn cut(mut items: Vec<T>, limit: usize, id: impl Fn(&T) -> String) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|item| Cursor(id(item)));
        Self { items, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_opens_only_for_its_list() {
        let text = r#"{"current":"k1","k1":"0123456789abcdef0123456789abcdef"}"#;
        let keyring = Keyring::read(&text.to_owned().into()).unwrap();
        let sealed = Cursor("run_1~x".into()).seal(&keyring, "ten_1 /api/runs status=faulted");
        let open = |list: &str, text: &str| Cursor::open(&keyring, list, text);
        assert_eq!(
            open("ten_1 /api/runs status=faulted", &sealed),
            Ok(Cursor("run_1~x".into()))
        );
        assert_eq!(
            open("ten_2 /api/runs status=faulted", &sealed),
            Err(InvalidCursor)
        );
        assert_eq!(open("ten_1 /api/runs status=", &sealed), Err(InvalidCursor));
        for junk in [
            "",
            "%%%",
            "cnVuXzE",
            &URL_SAFE_NO_PAD.encode("run_1~k1.AAAA"),
            &"A".repeat(2000),
        ] {
            assert_eq!(
                open("ten_1 /api/runs status=faulted", junk),
                Err(InvalidCursor)
            );
        }
    }
}
