//! A small element tree for the header: bounded by the scanner, order kept, namespaces already judged and dropped.

use serde::Serialize;

/// One element: local name, attributes without namespace declarations, its own text, its children in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Element {
    /// Local name.
    pub name: String,
    /// Attribute names (with any prefix) and values.
    pub attributes: Vec<(String, String)>,
    /// The element's own text, pieces joined, references resolved, line ends as LF.
    pub text: String,
    /// Children in document order.
    pub children: Vec<Element>,
}

impl Element {
    /// An empty element.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Adds `<name>text</name>`; absent and empty texts are omitted, as the SDK omits them.
    #[must_use]
    pub fn leaf(mut self, name: &str, text: Option<impl ToString>) -> Self {
        if let Some(text) = text.map(|t| t.to_string()).filter(|t| !t.is_empty()) {
            self.children.push(Self { text, ..Self::new(name) });
        }
        self
    }

    /// Adds one leaf per text.
    #[must_use]
    pub fn leaves(self, name: &str, texts: &[impl ToString]) -> Self {
        texts.iter().fold(self, |element, text| element.leaf(name, Some(text.to_string())))
    }

    /// Adds a child unless it is empty.
    #[must_use]
    pub fn child(mut self, child: Self) -> Self {
        if !child.is_empty() {
            self.children.push(child);
        }
        self
    }

    /// Whether it says nothing: no text, attributes or children.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.children.is_empty() && self.text.is_empty() && self.attributes.is_empty()
    }

    /// Adds an attribute when there is a value.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: Option<&str>) -> Self {
        self.attributes.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        self
    }

    /// The value of an attribute, by its local name.
    #[must_use]
    pub fn attribute_value(&self, name: &str) -> Option<&str> {
        let local = |key: &str| key.rsplit(':').next().is_some_and(|local| local == name);
        self.attributes.iter().rfind(|(key, _)| local(key)).map(|(_, value)| value.as_str())
    }

    /// The last child of that name.
    #[must_use]
    pub fn last(&self, name: &str) -> Option<&Self> {
        self.children.iter().rfind(|child| child.name == name)
    }

    /// Calls `visit` with the path and text of every leaf below, in order; repeated names are numbered from 1.
    pub fn walk(&self, path: &str, visit: &mut dyn FnMut(&str, &Self)) {
        for (key, value) in &self.attributes {
            let attribute = Self { text: value.clone(), ..Self::new(key) };
            visit(&format!("{path}/@{key}"), &attribute);
        }
        if self.children.is_empty() {
            visit(path, self);
        }
        let mut seen: std::collections::HashMap<&str, usize> = std::collections::HashMap::new();
        let mut totals: std::collections::HashMap<&str, usize> = std::collections::HashMap::new();
        for child in &self.children {
            *totals.entry(&child.name).or_default() += 1;
        }
        for child in &self.children {
            let place = seen.entry(&child.name).or_default();
            *place += 1;
            let name = &child.name;
            if totals.get(name.as_str()).is_some_and(|total| *total > 1) {
                child.walk(&format!("{path}/{name}[{place}]"), visit);
            } else {
                child.walk(&format!("{path}/{name}"), visit);
            }
        }
    }
}
