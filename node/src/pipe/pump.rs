//! Joins what pushes (a container being read) with what pulls (an edXML reader): a thread and a short queue between them.

use std::{
    io::{self, Read, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use truc_proto::edxml::{self, Discard, Parsed, ReadError};
use zeroize::Zeroizing;

/// Pieces that may wait between the two.
const QUEUE_PIECES: usize = 4;

type Piece = Zeroizing<Vec<u8>>;

/// The pushing end. Fails when the other end is gone.
pub(super) struct PieceWriter(SyncSender<Piece>);

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        self.0.send(Zeroizing::new(bytes.to_vec())).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The pulling end. Ends when the other end is gone, whatever the reason: ask the producer whether all was well.
pub(super) struct PieceReader {
    pieces: Receiver<Piece>,
    piece: Piece,
    given: usize,
}

impl Read for PieceReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.given == self.piece.len() {
            match self.pieces.recv() {
                Ok(piece) => (self.piece, self.given) = (piece, 0),
                Err(_) => return Ok(0),
            }
        }
        let mut rest = self.piece.get(self.given..).unwrap_or_default();
        let read = rest.read(out)?;
        self.given += read;
        Ok(read)
    }
}

pub(super) fn pipe() -> (PieceWriter, PieceReader) {
    let (sender, pieces) = sync_channel(QUEUE_PIECES);
    (PieceWriter(sender), PieceReader { pieces, piece: Piece::default(), given: 0 })
}

/// Runs `produce` on a thread of its own and `consume` here; none when the producer panicked.
pub(super) fn joined<A: Send, B>(
    produce: impl FnOnce(&mut PieceWriter) -> A + Send,
    consume: impl FnOnce(&mut PieceReader) -> B,
) -> (Option<A>, B) {
    let (mut writer, mut reader) = pipe();
    thread::scope(|scope| {
        let producer = scope.spawn(move || produce(&mut writer));
        let consumed = consume(&mut reader);
        drop(reader);
        (producer.join().ok(), consumed)
    })
}

/// Parses a packet for what it says; a panic of the parser is told as such (none).
pub(super) fn parse(source: impl Read) -> Option<Result<Parsed, ReadError>> {
    catch_unwind(AssertUnwindSafe(|| edxml::read(source, &mut Discard))).ok()
}
