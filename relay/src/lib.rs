//! The central store-and-forward relay, which cannot read what it carries.
