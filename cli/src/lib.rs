//! The tool of officers and cipher administrators.
