//! An address that stays while the process behind it comes and goes: bytes are passed on to where the process listens now. Can also be shut, as a cut cable.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// The address; dropping it closes every connection through it.
pub struct Front {
    address: SocketAddr,
    behind: watch::Sender<Option<SocketAddr>>,
    accepting: JoinHandle<()>,
}

impl Front {
    /// Takes a free port; nothing is behind it yet, connections are closed at once.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let (behind, target) = watch::channel(None);
        let accepting = tokio::spawn(async move {
            while let Ok((outer, _)) = listener.accept().await {
                let mut moved = target.clone();
                let Some(to) = *moved.borrow_and_update() else { continue };
                tokio::spawn(async move {
                    tokio::select! {
                        () = pass_on(outer, to) => {}
                        // Whoever is behind now has another address: what is open goes down with the old one.
                        _ = moved.changed() => {}
                    }
                });
            }
        });
        Self { address, behind, accepting }
    }

    /// The address.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on connections go to `behind`, or nowhere; those open are closed.
    pub fn lead_to(&self, behind: Option<SocketAddr>) {
        self.behind.send_replace(behind);
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
        self.behind.send_replace(None);
    }
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Front({} to {:?})", self.address, *self.behind.borrow())
    }
}

async fn pass_on(mut outer: TcpStream, to: SocketAddr) {
    let Ok(mut inner) = TcpStream::connect(to).await else { return };
    let _ = (outer.set_nodelay(true), inner.set_nodelay(true));
    // Either end may break at any moment: that is what this is for.
    let _ = copy_bidirectional(&mut outer, &mut inner).await;
}
