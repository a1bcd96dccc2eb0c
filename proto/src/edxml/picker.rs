//! Takes an element apart by name: last duplicate wins, what nobody asked for becomes a warning.

use super::{
    date::{Date, Dated},
    element::Element,
    warning::{Notes, WarningKind},
};
use crate::{ForeignCode, Timestamp};

pub(super) struct Picker<'n> {
    children: Vec<(Element, bool)>,
    path: String,
    notes: &'n mut Notes,
}

impl<'n> Picker<'n> {
    pub(super) fn new(element: Element, path: &str, notes: &'n mut Notes) -> Self {
        let children = element.children.into_iter().map(|child| (child, false)).collect();
        Self { children, path: path.to_owned(), notes }
    }

    /// All children of that name.
    pub(super) fn all(&mut self, name: &str) -> Vec<Element> {
        let wanted = self.children.iter_mut().filter(|(child, taken)| !taken && child.name == name);
        wanted
            .map(|(child, taken)| {
                *taken = true;
                std::mem::take(child)
            })
            .collect()
    }

    /// The last child of that name.
    pub(super) fn child(&mut self, name: &str) -> Option<Element> {
        let mut all = self.all(name);
        let last = all.pop();
        if !all.is_empty() {
            self.warn(name, WarningKind::Duplicate);
        }
        last
    }

    /// Applies `read` to every child of that name, with a path that counts them.
    ///
    /// Those that say nothing are left out: absent and empty are the same.
    pub(super) fn map<T: Default + PartialEq>(
        &mut self,
        name: &str,
        read: impl Fn(Element, &str, &mut Notes) -> T,
    ) -> Vec<T> {
        let all = self.all(name);
        let many = all.len() > 1;
        let path =
            |n: usize| if many { format!("{}/{name}[{}]", self.path, n + 1) } else { format!("{}/{name}", self.path) };
        let read = all.into_iter().enumerate().map(|(n, child)| read(child, &path(n), self.notes));
        read.filter(|value| *value != T::default()).collect()
    }

    /// Applies `read` to the last child of that name.
    pub(super) fn with<T: Default + PartialEq>(
        &mut self,
        name: &str,
        read: impl Fn(Element, &str, &mut Notes) -> T,
    ) -> Option<T> {
        let child = self.child(name)?;
        Some(read(child, &format!("{}/{name}", self.path), self.notes)).filter(|value| *value != T::default())
    }

    /// The text exactly as written; blank is absent.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.child(name).map(|child| child.text).filter(|text| !text.trim().is_empty())
    }

    pub(super) fn trimmed(&mut self, name: &str) -> Option<String> {
        self.text(name).map(|text| text.trim().to_owned())
    }

    /// Texts of all children of that name; blank ones are left out.
    pub(super) fn texts(&mut self, name: &str) -> Vec<String> {
        self.all(name).into_iter().map(|child| child.text).filter(|text| !text.trim().is_empty()).collect()
    }

    pub(super) fn code(&mut self, name: &str) -> Option<ForeignCode> {
        let text = self.trimmed(name)?;
        self.parse_code(name, &text)
    }

    pub(super) fn codes(&mut self, name: &str) -> Vec<ForeignCode> {
        self.texts(name).iter().filter_map(|text| self.parse_code(name, text)).collect()
    }

    fn parse_code(&mut self, name: &str, text: &str) -> Option<ForeignCode> {
        if text.trim().eq_ignore_ascii_case("null") {
            self.warn(name, WarningKind::Null);
            return None;
        }
        let code = text.parse().ok();
        if code.is_none() {
            self.warn(name, WarningKind::BadCode(excerpt(text)));
        }
        code
    }

    pub(super) fn number(&mut self, name: &str) -> Option<i32> {
        let text = self.trimmed(name)?;
        let number = text.parse().ok();
        if number.is_none() {
            self.warn(name, WarningKind::BadNumber(excerpt(&text)));
        }
        number
    }

    pub(super) fn date(&mut self, name: &str) -> Option<Dated<Date>> {
        let date = Dated::<Date>::read(&self.trimmed(name)?);
        if date.value.is_none() {
            self.warn(name, WarningKind::BadDate(excerpt(&date.text)));
        }
        Some(date)
    }

    pub(super) fn time(&mut self, name: &str) -> Option<Dated<Timestamp>> {
        let time = Dated::<Timestamp>::read(&self.trimmed(name)?);
        if time.value.is_none() {
            self.warn(name, WarningKind::BadTime(excerpt(&time.text)));
        }
        Some(time)
    }

    /// ContentId without the `cid:` that the SDK's builder and parser add, one each time.
    pub(super) fn content_id(&mut self) -> Option<String> {
        let text = self.trimmed("ContentId")?;
        let mut id = text.as_str();
        while let Some(rest) = id.strip_prefix("cid:") {
            id = rest.trim_start();
        }
        (!id.is_empty()).then(|| id.to_owned())
    }

    pub(super) fn warn(&mut self, name: &str, kind: WarningKind) {
        let path = if name.is_empty() { self.path.clone() } else { format!("{}/{name}", self.path) };
        self.notes.add(&path, kind);
    }

    /// Warns of what nobody asked for.
    pub(super) fn finish(self) {
        for (child, taken) in self.children {
            if !taken {
                self.notes.add(&format!("{}/{}", self.path, child.name), WarningKind::UnknownElement);
            }
        }
    }
}

/// Enough of a text to recognise it by.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().take(60).collect()
}
