//! A small HTTP server on a port of its own, for tests, which tell it how to behave: the dress of time-stamping authorities, OCSP responders and
//! publishers of revocation lists.

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
    /// This, whatever it is.
    Reply(Vec<u8>),
    /// An error of HTTP.
    Status(u16),
    /// Nothing, ever.
    Silence,
    /// This, announced whole, of which all but the last byte comes, and that never.
    Unfinished(Vec<u8>),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// In capital letters.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The media type of the body; empty: none was named.
    pub media_type: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Received {
    /// What was posted under this media type.
    #[must_use]
    pub fn posted(&self, media_type: &str) -> Option<&[u8]> {
        (self.method == "POST" && self.media_type == media_type).then_some(self.body.as_slice())
    }
}

/// A server that answers as it is told; it stops when it is dropped.
pub struct DevServer {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl DevServer {
    /// Listens on a free port of this machine.
    ///
    /// # Errors
    /// The operating system's.
    pub fn start(
        media_type: &'static str,
        answer: impl Fn(&Received) -> Answer + Send + Sync + 'static,
    ) -> io::Result<Self> {
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
                std::thread::spawn(move || serve(stream, media_type, &count, answer.as_ref()));
            }
        });
        Ok(Self { address, asked, stop, accepting: Some(accepting) })
    }

    /// Where it is asked for this path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many requests came.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for DevServer {
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

impl std::fmt::Debug for DevServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DevServer({})", self.address)
    }
}

fn serve(
    mut stream: TcpStream,
    media_type: &str,
    count: &AtomicUsize,
    answer: &(dyn Fn(&Received) -> Answer + Send + Sync),
) {
    let Ok(Some(received)) = receive(&mut stream) else { return };
    count.fetch_add(1, Ordering::SeqCst);
    let said = answer(&received);
    let (status, body) = match &said {
        Answer::Reply(body) | Answer::Unfinished(body) => (200, body.as_slice()),
        Answer::Status(status) => (*status, [].as_slice()),
        Answer::Silence => return until_it_gives_up(&mut stream),
    };
    let head = format!(
        "HTTP/1.1 {status} said\r\ncontent-type: {media_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let sent = match &said {
        Answer::Unfinished(_) => body.split_last().map_or(body, |(_, rest)| rest),
        _ => body,
    };
    // Whoever went away does not hear it.
    let _ = stream.write_all(&[head.as_bytes(), sent].concat());
    if matches!(said, Answer::Unfinished(_)) {
        until_it_gives_up(&mut stream);
    }
}

fn until_it_gives_up(stream: &mut TcpStream) {
    let _ = stream.read(&mut [0; 1]); // whatever it says, it has gone
}

/// One request; none where it is none.
fn receive(stream: &mut TcpStream) -> io::Result<Option<Received>> {
    let mut bytes = Vec::new();
    let mut piece = [0; 1024];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let (head, rest) = bytes.split_at(end + 4);
            let head = String::from_utf8_lossy(head).into_owned();
            let field = |name: &str| {
                let mut fields = head.lines().filter_map(|line| line.split_once(':'));
                fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
            };
            let length = field("content-length").map_or(Some(0), |text| text.parse::<usize>().ok());
            let Some(length) = length else { return Ok(None) };
            if let Some(body) = rest.get(..length) {
                let mut first = head.split_whitespace();
                let (Some(method), Some(path)) = (first.next(), first.next()) else { return Ok(None) };
                let media_type = field("content-type").unwrap_or_default().to_ascii_lowercase();
                let (method, path) = (method.to_ascii_uppercase(), path.to_owned());
                return Ok(Some(Received { method, path, media_type, body: body.to_vec() }));
            }
        }
        let read = stream.read(&mut piece)?;
        if read == 0 || bytes.len() > REQUEST_BYTES_MAX {
            return Ok(None);
        }
        bytes.extend_from_slice(piece.get(..read).unwrap_or_default());
    }
}
