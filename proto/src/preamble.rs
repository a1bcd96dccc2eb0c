//! The preamble: all that the relay reads of an envelope. It is bound into every chunk of the sealed payload.

use serde::{Deserialize, Serialize};

use crate::{
    AgencyId, AxisId, EnvelopeId, Lane, Priority, SecrecyLevel, Statement, Timestamp, WireLevel,
    ids::{LevelRefused, closed},
    limits::{ENVELOPE_TTL_MAX_MS, RECIPIENTS_MAX},
};

closed! {
    /// What an envelope carries.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
    EnvelopeKind, "an envelope kind: `document` or `status`" {
        /// An official document.
        Document = "document",
        /// A business status (01 … 16) about a document received or sent before.
        Status = "status",
    }
}

closed! {
    /// How content is sealed. Unknown and weaker suites do not parse.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
    Suite, "a sealing suite: `S1`" {
        /// STREAM over AES-256-GCM, file key by RSA-OAEP-SHA256 or ECDH P-256 (docs/FORMATS.md, "Sealing").
        S1 = "S1",
    }
}

/// The envelope that a new envelope replaces for one recipient (closed code, lost key).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Supersedes {
    /// The older envelope.
    pub envelope: EnvelopeId,
    /// Its recipient that the new envelope stands for.
    pub recipient: AgencyId,
}

/// What the relay reads. No subject, number or person's name stands here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Preamble {
    /// The trust domain; another domain's envelope is refused.
    pub axis: AxisId,
    /// How the content is sealed.
    pub suite: Suite,
    /// The envelope's id; with the sender's code it is the key of deduplication.
    pub envelope: EnvelopeId,
    /// The lane.
    pub lane: Lane,
    /// The secrecy label.
    pub level: WireLevel,
    /// The sending agency.
    pub sender: AgencyId,
    /// The receiving agencies: sorted, no doubles. Empty only when `legacy` names some; the relay never sees such an envelope.
    pub recipients: Vec<AgencyId>,
    /// Agencies that the sender's node reaches through today's axis, unsealed: sorted, no doubles, none of `recipients`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub legacy: Vec<AgencyId>,
    /// Document or status.
    pub kind: EnvelopeKind,
    /// Urgency.
    pub priority: Priority,
    /// When it was made.
    pub created: Timestamp,
    /// When the relay stops trying.
    pub expires: Timestamp,
    /// What it replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<Supersedes>,
}

impl Preamble {
    /// The level, when the preamble's lane may carry it.
    ///
    /// # Errors
    /// Tuyệt mật on either lane; Mật and Tối mật on the ordinary one.
    pub const fn secrecy(&self) -> Result<SecrecyLevel, LevelRefused> {
        self.level.on(self.lane)
    }
}

impl Statement for Preamble {
    const TYPE: &'static str = "preamble";

    fn check(&self) -> Result<(), String> {
        let count = self.recipients.len() + self.legacy.len();
        if count == 0 || count > RECIPIENTS_MAX {
            return Err(format!("an envelope has 1 to {RECIPIENTS_MAX} recipients, this one {count}"));
        }
        if !self.recipients.is_sorted_by(|a, b| a < b) || !self.legacy.is_sorted_by(|a, b| a < b) {
            return Err("recipients must be sorted and stand once each".into());
        }
        if self.legacy.iter().any(|code| self.recipients.binary_search(code).is_ok()) {
            return Err("a recipient is reached one way".into());
        }
        if !self.legacy.is_empty() && self.lane != Lane::Ordinary {
            return Err("nothing of the classified lane goes through today's axis".into());
        }
        if [&self.recipients, &self.legacy].iter().any(|codes| codes.binary_search(&self.sender).is_ok()) {
            return Err(format!("{} cannot send to itself", self.sender));
        }
        if self.kind == EnvelopeKind::Status && count != 1 {
            return Err("a status goes to one agency".into());
        }
        if self.expires <= self.created {
            return Err("`expires` must lie after `created`".into());
        }
        if self.expires.unix_ms() - self.created.unix_ms() > ENVELOPE_TTL_MAX_MS {
            return Err(format!("an envelope lives at most {} days", ENVELOPE_TTL_MAX_MS / 86_400_000));
        }
        if let Some(supersedes) = &self.supersedes {
            if supersedes.envelope == self.envelope {
                return Err("an envelope cannot supersede itself".into());
            }
            if count != 1 {
                return Err("a superseding envelope goes to one recipient".into());
            }
        }
        Ok(())
    }
}
