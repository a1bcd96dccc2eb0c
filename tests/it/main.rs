//! Tests over real sockets and real folders: each starts what it needs on port 0 and waits on predicates.

mod dependencies;
