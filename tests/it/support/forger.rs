//! A node made by hand.
