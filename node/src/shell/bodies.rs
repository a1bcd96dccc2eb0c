//! Reads bodies back from the journal by position. Blocks on the disk.

use truc_ledger::{Ledger, Position, ReadError};
use truc_proto::{Administration, Raw};

use crate::{
    core::OwnLeaf,
    records::{About, Administered, Body, Content, Held, Incoming, NodeRecord, Outgoing, RecordError},
};

/// Why a body cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The journal.
    #[error("the journal cannot be read at {position}")]
    Read {
        /// Where.
        position: u64,
        /// Why.
        source: ReadError,
    },
    /// The record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Another kind of record than expected stands there.
    #[error("another record than expected stands at {position} of the journal")]
    Other {
        /// Where.
        position: u64,
    },
}

/// The journal, for reading bodies.
#[derive(Clone)]
pub struct Bodies(pub Ledger);

impl std::fmt::Debug for Bodies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bodies")
    }
}

macro_rules! reader {
    ($(#[$doc:meta])* $name:ident, $variant:ident, $type:ty) => {
        $(#[$doc])*
        ///
        /// # Errors
        /// When it cannot be read, or something else stands there.
        pub fn $name(&self, position: u64) -> Result<$type, BodyError> {
            match self.body(position)?.0 {
                Body::$variant(record) => Ok(record),
                _ => Err(BodyError::Other { position }),
            }
        }
    };
}

impl Bodies {
    /// A record with its leaf.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn body(&self, position: u64) -> Result<(Body, Option<Vec<u8>>), BodyError> {
        let record = self.0.read(Position(position)).map_err(|source| BodyError::Read { position, source })?;
        Ok((NodeRecord::read(&record.state)?, record.leaf))
    }

    reader!(
        /// A sealed envelope of ours.
        outgoing, Outgoing, Outgoing
    );
    reader!(
        /// A held request.
        held, Held, Held
    );

    /// A received envelope.
    ///
    /// # Errors
    /// When it cannot be read, or something else stands there.
    pub fn incoming(&self, position: u64) -> Result<Incoming, BodyError> {
        match self.body(position)?.0 {
            Body::Incoming(record) => Ok(record),
            Body::TakenOver(record) => Ok(record.incoming()),
            _ => Err(BodyError::Other { position }),
        }
    }

    /// What was in it.
    ///
    /// # Errors
    /// When it cannot be read, or something else stands there.
    pub fn content(&self, position: u64) -> Result<Content, BodyError> {
        match self.body(position)?.0 {
            Body::Content(record) => Ok(record),
            Body::TakenOver(record) => Ok(record.content),
            _ => Err(BodyError::Other { position }),
        }
    }

    /// What an administrator did, and what stands beside it.
    ///
    /// # Errors
    /// When it cannot be read, or something else stands there.
    pub fn administered(&self, position: u64) -> Result<(Administered, Raw<Administration>), BodyError> {
        let (Body::Administered(record), Some(leaf)) = self.body(position)? else {
            return Err(BodyError::Other { position });
        };
        let leaf = Raw::parse(leaf).map_err(|error| RecordError::Inconsistent(error.to_string()))?;
        Ok((record, leaf))
    }

    /// How a document is described, sent, held or received.
    ///
    /// # Errors
    /// When it cannot be read, or something else stands there.
    pub fn about(&self, position: u64) -> Result<About, BodyError> {
        match self.body(position)?.0 {
            Body::Outgoing(record) => Ok(record.about),
            Body::Held(record) => Ok(record.about),
            Body::Content(record) => Ok(record.about),
            Body::TakenOver(record) => Ok(record.content.about),
            _ => Err(BodyError::Other { position }),
        }
    }

    /// The bytes of an own leaf.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn leaf(&self, leaf: &OwnLeaf) -> Result<Vec<u8>, BodyError> {
        self.body(leaf.position)?.1.ok_or(BodyError::Other { position: leaf.position })
    }
}
