//! Tests that need the whole: real sockets, simulated worlds, power cuts, foreign tools.
