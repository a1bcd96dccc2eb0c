//! A port of loopback that nobody takes away.

use std::{io, net::SocketAddr};

use tokio::net::TcpSocket;

/// Bound as long as it lives, and nobody listens: connections are refused, and no other test is given the port, until `tokio::net::TcpListener::bind`
/// is called with its address, and again once that listener is gone.
#[derive(Debug)]
pub struct HeldPort {
    socket: TcpSocket,
}

impl HeldPort {
    /// Takes a free one.
    ///
    /// # Errors
    /// When there is none.
    pub fn take() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // Else whoever is to listen could not bind beside it.
        socket.set_reuseaddr(true)?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        Ok(Self { socket })
    }

    /// Its address.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn it_refuses_until_somebody_listens_and_again_behind_that() {
        let port = HeldPort::take().unwrap();
        let address = port.address().unwrap();
        for _ in 0..3 {
            assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
            let listener = TcpListener::bind(address).await.unwrap();
            TcpStream::connect(address).await.unwrap();
            drop(listener);
        }
        for _ in 0..2_000 {
            assert_ne!(TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap(), address);
        }
    }
}
