//! A time-stamping authority behind HTTP (RFC 3161 3.4), on a port of its own: for tests, which tell it how to behave.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// What comes back for a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This, as a TimeStampResp, whatever it is.
    Reply(Vec<u8>),
    /// An error of HTTP.
    Status(u16),
    /// Nothing, ever.
    Silence,
}

/// A server that answers as it is told; it stops when it is dropped.
pub struct TsaServer {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl TsaServer {
    /// Listens on a free port of this machine.
    ///
    /// # Errors
    /// The operating system's.
    pub fn start(answer: impl Fn(&[u8]) -> Answer + Send + Sync + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let (address, answer) = (listener.local_addr()?, Arc::new(answer));
        let (asked, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stopped) = (Arc::clone(&asked), Arc::clone(&stop));
        let accepting = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (answer, count) = (Arc::clone(&answer), Arc::clone(&count));
                std::thread::spawn(move || serve(stream, &count, answer.as_ref()));
            }
        });
        Ok(Self { address, asked, stop, accepting: Some(accepting) })
    }

    /// Where it is asked.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/tsa", self.address)
    }

    /// How many requests came.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for TsaServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        if TcpStream::connect(self.address).is_ok()
            && let Some(accepting) = self.accepting.take()
        {
            let _ = accepting.join(); // it has nothing to say
        }
    }
}

impl std::fmt::Debug for TsaServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TsaServer({})", self.address)
    }
}

fn serve(mut stream: TcpStream, count: &AtomicUsize, answer: &(dyn Fn(&[u8]) -> Answer + Send + Sync)) {
    let Ok(Some(request)) = read_request(&mut stream) else { return };
    count.fetch_add(1, Ordering::SeqCst);
    let (status, body) = match answer(&request) {
        Answer::Reply(body) => (200, body),
        Answer::Status(status) => (status, Vec::new()),
        Answer::Silence => {
            // Until the other side gives up.
            let _ = stream.read(&mut [0; 1]);
            return;
        }
    };
    let head = format!(
        "HTTP/1.1 {status} said\r\ncontent-type: application/timestamp-reply\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    // Whoever went away does not hear it.
    let _ = stream.write_all(&[head.as_bytes(), &body].concat());
}

/// The body of a POST of a timestamp-query; none where it is none.
fn read_request(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let mut piece = [0; 1024];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let (head, rest) = bytes.split_at(end + 4);
            let head = String::from_utf8_lossy(head).to_ascii_lowercase();
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
            let is_query = head.starts_with("post ") && head.contains("content-type: application/timestamp-query");
            match length {
                Some(length) if is_query && rest.len() >= length => return Ok(rest.get(..length).map(<[u8]>::to_vec)),
                Some(_) if is_query => {}
                _ => return Ok(None),
            }
        }
        let read = stream.read(&mut piece)?;
        if read == 0 || bytes.len() > REQUEST_BYTES_MAX {
            return Ok(None);
        }
        bytes.extend_from_slice(piece.get(..read).unwrap_or_default());
    }
}
