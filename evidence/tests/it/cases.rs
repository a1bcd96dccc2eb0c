//! The corpus: receipts that are right but for one thing. Each is hashed again and signed again by a real party, so that only the check named here sees it.

use truc_certs_dev::TokenPlan;
use truc_evidence::{Check, Outcome};
use truc_proto::{
    Actor, AgencyEntry, Digest, Entry, EnvelopeId, Event, EventUri, KeyStatus, Lane, NodeEntry, Reason, Role,
    Supersedes, Timestamp, WireLevel,
};

use crate::world::*;

/// An event in the ledger of the sender's node.
macro_rules! by_the_sender {
    ($bend:expr) => {
        Recipe {
            event: |event| {
                event.actor = Actor { code: Some(code("G22")), node: node_id("N-G22"), role: Role::Sender };
                let bend: fn(&mut Event) = $bend;
                bend(event);
            },
            ledger: |ledger| *ledger = ledger_of("node/N-G22", "N-G22", 1),
            cms: |world, cms| cms.key = Some(&world.node_g22.key),
            agency_entry: Some("agency/G22"),
            ..Recipe::default()
        }
    };
}
pub(crate) use by_the_sender;

/// It came from today's axis.
pub(crate) fn receive(event: &mut Event) {
    event.event = EventUri::ReceivedFromNonErds;
    event.submission = None;
}

pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The check that stands against it, and how.
    pub(crate) against: Check,
    pub(crate) outcome: Outcome,
    pub(crate) recipe: Recipe,
}

/// H26's node with another certificate that the operator bound, and that signs.
macro_rules! signed_by {
    ($party:ident) => {
        Recipe {
            entries: |world, entries| {
                node(entries, "N-H26").certificates[0] = binding(&world.$party, truc_proto::KeyUse::Node);
            },
            cms: |world, cms| cms.key = Some(&world.$party.key),
            ..Recipe::default()
        }
    };
}

/// The directory by another operator that the verifier has pinned.
macro_rules! operated_by {
    ($party:ident) => {
        Recipe { root_signer: |world| &world.$party, pinned: |world| &world.$party, ..Recipe::default() }
    };
}

/// Receipts that are valid: what the corpus' bent ones are bent from.
pub(crate) fn valid() -> Vec<(&'static str, Recipe)> {
    let base = Recipe::default;
    vec![
        ("valid-consignment", base()),
        ("valid-submission", Recipe { who: Who::Sender, ..base() }),
        (
            // The later version repeats the entry that the receipt carries under the earlier one.
            "valid-submission-under-a-later-root",
            Recipe { submission: |submission| submission.directory.version = 4, who: Who::Sender, ..base() },
        ),
        ("valid-relay-acceptance", Recipe { who: Who::Relay, ..base() }),
        ("valid-with-opening", Recipe { with_opening: true, ..base() }),
        ("valid-with-document", Recipe { with_opening: true, document: Some(PACKET), ..base() }),
        ("valid-with-revocation-lists", Recipe { with_crls: true, now: after(20 * DAY_MS), ..base() }),
        (
            "valid-handover-without-preamble",
            Recipe { with_preamble: false, event: |event| event.event = EventUri::ContentHandover, ..base() },
        ),
        (
            "valid-while-the-code-still-serves",
            Recipe {
                entries: |_, entries| {
                    let h26 = agency(entries, "H26");
                    h26.valid_to = Some(after(-2 * DAY_MS));
                    h26.serves_until = Some(after(2 * DAY_MS));
                },
                ..base()
            },
        ),
        (
            // Taken before it closed, opened after: no longer ago than an envelope may be on the way.
            "valid-what-a-closed-code-had-taken",
            Recipe { entries: |_, entries| agency(entries, "H26").valid_to = Some(after(-2 * DAY_MS)), ..base() },
        ),
        (
            "valid-replacement-by-a-closed-code",
            Recipe {
                entries: |_, entries| agency(entries, "G22").valid_to = Some(after(-2 * DAY_MS)),
                preamble: |preamble| {
                    let old = EnvelopeId::new(preamble.created, [9; 10]);
                    let recipient = preamble.recipients[0].clone();
                    preamble.recipients.truncate(1);
                    preamble.supersedes = Some(Supersedes { envelope: old, recipient });
                },
                who: Who::Sender,
                ..base()
            },
        ),
        ("valid-witnessed", witnessed(vec![cosigned_by(W_R1), cosigned_by(W_G22)])),
        (
            "valid-relay-acceptance-witnessed",
            Recipe { who: Who::Relay, ..witnessed(vec![cosigned_by(W_G22), cosigned_by(W_H37)]) },
        ),
        (
            "valid-witnessed-by-a-stranger-too",
            witnessed(vec![cosigned_by(STRANGER), cosigned_by(W_H37), cosigned_by(W_R1)]),
        ),
        ("valid-cosigned-and-no-policy", Recipe { policy: None, ..witnessed(vec![cosigned_by(W_R1)]) }),
        (
            "valid-where-the-policy-asks-for-its-ledger-alone",
            Recipe { policy: Some(|| log_policy(W_H26.0, 2)), ..base() },
        ),
        ("valid-in-the-grace-of-the-directory", Recipe { root: |root| root.valid_until = after(-DAY_MS), ..base() }),
    ]
    .into_iter()
    .chain(stamped_and_valid())
    .collect()
}

/// What a time-stamp saves, and what one that proves nothing takes nothing from.
fn stamped_and_valid() -> Vec<(&'static str, Recipe)> {
    let base = Recipe::default;
    let late = after(20 * DAY_MS);
    let by_tsa: Stamps = |world, signature| vec![token(&world.tsa, signature, 2_000)];
    let root_by_tsa: Stamps = |world, signature| vec![token(&world.tsa, signature, -9 * DAY_MS)];
    vec![
        ("valid-stamped", Recipe { stamps: by_tsa, root_stamps: root_by_tsa, ..base() }),
        (
            "valid-stamped-by-an-authority-of-old-ways",
            Recipe {
                stamps: |world, signature| {
                    let plan = TokenPlan { old_identifier: true, accuracy_s: None, ..TokenPlan::at(after(2_345)) };
                    vec![world.tsa.token(&Digest::of(signature), &plan).unwrap()]
                },
                ..base()
            },
        ),
        ("valid-expired-after-the-stamp", Recipe { stamps: by_tsa, now: late, ..signed_by!(short_node) }),
        (
            "valid-revoked-after-the-stamp",
            Recipe { stamps: by_tsa, with_crls: true, now: late, ..signed_by!(later_revoked_node) },
        ),
        (
            "valid-revoked-in-the-directory-after-the-stamp",
            Recipe {
                stamps: by_tsa,
                root: |root| root.issued = after(180_000),
                entries: |_, entries| set_status(entries, KeyStatus::Revoked, after(120_000)),
                ..base()
            },
        ),
        (
            "valid-the-earlier-of-two-stamps",
            Recipe {
                stamps: |world, signature| [12 * DAY_MS, 2_000].map(|ms| token(&world.tsa, signature, ms)).into(),
                now: late,
                ..signed_by!(short_node)
            },
        ),
        (
            "valid-stamped-by-a-strange-authority",
            Recipe { stamps: |world, signature| vec![token(&world.foreign_tsa, signature, 2_000)], ..base() },
        ),
        (
            "valid-stamped-by-an-authority-that-expired-since",
            Recipe { stamps: |world, signature| vec![token(&world.short_tsa, signature, 2_000)], now: late, ..base() },
        ),
        (
            "valid-stamped-by-an-authority-revoked-since",
            Recipe {
                stamps: |world, signature| vec![token(&world.later_revoked_tsa, signature, 2_000)],
                with_crls: true,
                now: late,
                ..base()
            },
        ),
        (
            "valid-operator-expired-after-the-stamp",
            Recipe { root_stamps: root_by_tsa, now: late, ..operated_by!(short_operator) },
        ),
        (
            "valid-operator-revoked-after-the-stamp",
            Recipe { root_stamps: root_by_tsa, with_crls: true, now: late, ..operated_by!(later_revoked_operator) },
        ),
    ]
}

/// Time-stamps that are wrong, too late, or not believed where they are needed.
#[expect(clippy::too_many_lines, reason = "a table: one entry per case")]
fn badly_stamped() -> Vec<Case> {
    let base = Recipe::default;
    let late = after(20 * DAY_MS);
    let mut cases = Vec::new();
    let mut refused = |name, against, recipe| cases.push(Case { name, against, outcome: Outcome::Failed, recipe });
    let wrong = |stamps: Stamps| Recipe { stamps, ..base() };
    refused(
        "stamp-of-another-signature",
        Check::TimeStamps,
        wrong(|world, _| vec![token(&world.tsa, b"another signature", 2_000)]),
    );
    refused(
        "stamp-by-a-certificate-for-documents",
        Check::TimeStamps,
        wrong(|world, signature| vec![token(&world.misused_tsa, signature, 2_000)]),
    );
    refused(
        "stamp-by-a-certificate-for-mail-too",
        Check::TimeStamps,
        wrong(|world, signature| vec![token(&world.mailing_tsa, signature, 2_000)]),
    );
    refused(
        "stamp-older-than-the-event",
        Check::TimeStamps,
        wrong(|world, signature| vec![token(&world.tsa, signature, -HOUR_MS)]),
    );
    refused(
        "stamp-from-the-future",
        Check::TimeStamps,
        wrong(|world, signature| vec![token(&world.tsa, signature, 2 * DAY_MS)]),
    );
    refused("stamp-that-is-none", Check::TimeStamps, wrong(|_, _| vec![vec![0x30, 0]]));
    refused(
        "stamp-bent",
        Check::TimeStamps,
        wrong(|world, signature| {
            let mut token = token(&world.tsa, signature, 2_000);
            *token.last_mut().unwrap() ^= 1;
            vec![token]
        }),
    );
    refused(
        "stamp-that-is-vague",
        Check::TimeStamps,
        wrong(|world, signature| {
            let plan = TokenPlan { accuracy_s: Some(90), ..TokenPlan::at(after(2_000)) };
            vec![world.tsa.token(&Digest::of(signature), &plan).unwrap()]
        }),
    );
    refused(
        "stamp-by-an-authority-past-its-certificate",
        Check::TimeStamps,
        Recipe { now: late, ..wrong(|world, signature| vec![token(&world.short_tsa, signature, 12 * DAY_MS)]) },
    );
    refused(
        "stamp-by-a-revoked-authority",
        Check::TimeStamps,
        Recipe {
            with_crls: true,
            now: late,
            ..wrong(|world, signature| vec![token(&world.revoked_tsa, signature, 2_000)])
        },
    );
    refused(
        "a-right-stamp-and-a-wrong-one",
        Check::TimeStamps,
        wrong(|world, signature| {
            [signature, b"another"].map(|stamped: &[u8]| token(&world.tsa, stamped, 2_000)).into()
        }),
    );
    let too_late: Stamps = |world, signature| vec![token(&world.tsa, signature, 12 * DAY_MS)];
    refused(
        "certificate-expired-before-the-stamp",
        Check::CertificateExpiry,
        Recipe { stamps: too_late, now: late, ..signed_by!(short_node) },
    );
    refused(
        "certificate-revoked-before-the-stamp",
        Check::CertificateRevocation,
        Recipe { stamps: too_late, with_crls: true, now: late, ..signed_by!(later_revoked_node) },
    );
    refused(
        "root-stamp-of-another-signature",
        Check::RootTimeStamps,
        Recipe { root_stamps: |world, _| vec![token(&world.tsa, b"another signature", -9 * DAY_MS)], ..base() },
    );
    refused(
        "root-stamp-older-than-the-root",
        Check::RootTimeStamps,
        Recipe { root_stamps: |world, signature| vec![token(&world.tsa, signature, -11 * DAY_MS)], ..base() },
    );
    refused(
        "operator-expired-before-the-stamp",
        Check::OperatorExpiry,
        Recipe { root_stamps: too_late, now: late, ..operated_by!(short_operator) },
    );
    refused(
        "operator-revoked-before-the-stamp",
        Check::OperatorRevocation,
        Recipe { root_stamps: too_late, with_crls: true, now: late, ..operated_by!(later_revoked_operator) },
    );
    let mut unknown = |name, against, recipe| cases.push(Case { name, against, outcome: Outcome::Unknown, recipe });
    unknown(
        "certificate-expired-since-and-stamped-by-a-strange-authority",
        Check::CertificateExpiry,
        Recipe {
            stamps: |world, signature| vec![token(&world.foreign_tsa, signature, 2_000)],
            now: late,
            ..signed_by!(short_node)
        },
    );
    unknown(
        "certificate-expired-since-and-its-stamp's-authority-too",
        Check::CertificateExpiry,
        Recipe {
            stamps: |world, signature| vec![token(&world.short_tsa, signature, 2_000)],
            now: late,
            ..signed_by!(short_node)
        },
    );
    unknown(
        "certificate-revoked-since-and-its-stamp's-authority-too",
        Check::CertificateRevocation,
        Recipe {
            stamps: |world, signature| vec![token(&world.later_revoked_tsa, signature, 2_000)],
            with_crls: true,
            now: late,
            ..signed_by!(later_revoked_node)
        },
    );
    unknown(
        "operator-expired-since-and-stamped-by-a-strange-authority",
        Check::OperatorExpiry,
        Recipe {
            root_stamps: |world, signature| vec![token(&world.foreign_tsa, signature, -9 * DAY_MS)],
            now: late,
            ..operated_by!(short_operator)
        },
    );
    cases
}

const STRANGER: (&str, u8) = ("somebody.example/witness", 77);

/// Two of relay and the two other nodes are asked for.
fn witnessed(cosigned: Vec<Cosigned>) -> Recipe {
    Recipe { cosigned, policy: Some(|| policy_of(2, &[W_R1, W_G22, W_H37])), ..Recipe::default() }
}

/// No witness, and this ledger alone.
fn log_policy(origin: &str, seed: u8) -> String {
    format!("log {} https://log.example/\nquorum none\n", ledger_key(origin, seed).public())
}

/// Enough right ones, and this one.
fn with_a_bent_cosignature(bend: impl FnOnce(&mut Cosigned)) -> Recipe {
    let mut bent = cosigned_by(W_H37);
    bend(&mut bent);
    witnessed(vec![cosigned_by(W_R1), bent, cosigned_by(W_G22)])
}

pub(crate) fn agency<'a>(entries: &'a mut [Entry], text: &str) -> &'a mut AgencyEntry {
    let found = entries.iter_mut().find_map(|entry| match entry {
        Entry::Agency(agency) if agency.code == code(text) => Some(agency),
        _ => None,
    });
    found.unwrap()
}

pub(crate) fn node<'a>(entries: &'a mut [Entry], id: &str) -> &'a mut NodeEntry {
    let found = entries.iter_mut().find_map(|entry| match entry {
        Entry::Node(node) | Entry::Relay(node) if node.id == node_id(id) => Some(node),
        _ => None,
    });
    found.unwrap()
}

fn set_status(entries: &mut [Entry], status: KeyStatus, since: Timestamp) {
    let binding = &mut node(entries, "N-H26").certificates[0];
    binding.status = status;
    binding.status_since = Some(since);
}

#[expect(clippy::too_many_lines, reason = "a table: one entry per case")]
pub(crate) fn all() -> Vec<Case> {
    let base = Recipe::default;
    let sender = || Recipe { who: Who::Sender, ..base() };
    let relay = || Recipe { who: Who::Relay, ..base() };
    let opened = || Recipe { with_opening: true, ..base() };
    let mut cases = Vec::new();
    let mut refused = |name, against, recipe| cases.push(Case { name, against, outcome: Outcome::Failed, recipe });

    refused(
        "manifest-with-a-byte-order-mark",
        Check::ManifestForm,
        Recipe { with_opening: true, manifest_bytes: |bytes| [b"\xef\xbb\xbf".as_slice(), &bytes].concat(), ..base() },
    );
    refused("carriage-returns", Check::ReceiptForm, Recipe { file: |text| text.replace('\n', "\r\n"), ..base() });
    refused("critical-member-of-the-body", Check::ReceiptForm, Recipe { body_bytes: with_critical, ..base() });

    refused("critical-member-of-the-event", Check::LeafForm, Recipe { leaf_bytes: with_critical, ..base() });
    refused("name-twice-in-the-event", Check::LeafForm, Recipe { leaf_bytes: with_double_name, ..base() });
    refused("critical-member-of-the-submission", Check::LeafForm, Recipe { leaf_bytes: with_critical, ..sender() });
    refused(
        "consignment-by-the-relay",
        Check::RoleFitsEvent,
        Recipe { event: |event| event.event = EventUri::ContentConsignment, ..relay() },
    );
    refused(
        "failure-of-the-relay-by-the-recipient",
        Check::RoleFitsEvent,
        Recipe {
            event: |event| {
                event.event = EventUri::RelayFailure;
                event.reason = Some(Reason::Expired);
            },
            ..base()
        },
    );
    refused(
        "handed-to-todays-axis-by-the-recipient",
        Check::RoleFitsEvent,
        Recipe {
            preamble: |preamble| (preamble.recipients, preamble.legacy) = (vec![code("H37")], vec![code("H26")]),
            event: |event| event.event = EventUri::RelayToNonErds,
            ..base()
        },
    );
    refused("received-from-todays-axis-by-the-sender", Check::RoleFitsEvent, by_the_sender!(receive));
    refused(
        "consignment-for-another-recipient",
        Check::CodeFitsRole,
        Recipe { event: |event| event.recipient = Some(code("H37")), ..base() },
    );
    refused(
        "consignment-with-a-reason",
        Check::LeafConsistent,
        Recipe { event: |event| event.reason = Some(Reason::Expired), ..base() },
    );
    refused(
        "rejection-without-a-reason",
        Check::LeafConsistent,
        Recipe { event: |event| event.event = EventUri::RelayRejection, ..relay() },
    );

    refused(
        "event-dated-back-in-the-file",
        Check::LeafIncluded,
        Recipe {
            leaf_shown: |bytes| {
                String::from_utf8(bytes).unwrap().replace("T03:00:00.000Z", "T02:59:00.000Z").into_bytes()
            },
            ..base()
        },
    );
    refused("other-index", Check::LeafIncluded, Recipe { index_shown: |index| index + 1, ..base() });
    refused(
        "checkpoint-of-another-epoch",
        Check::CheckpointOrigin,
        Recipe { ledger: |ledger| ledger.origin = "truc/dev/ordinary/N-H26/2".into(), ..base() },
    );
    refused(
        "ledger-key-of-somebody-else",
        Check::LedgerSignature,
        Recipe { ledger: |ledger| ledger.seed = 99, ..base() },
    );
    refused(
        "certificate-signed-an-older-checkpoint",
        Check::CertificateSignature,
        Recipe {
            cms: |_, cms| {
                cms.text = Some("truc/dev/ordinary/N-H26/1\n3\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n".into())
            },
            ..base()
        },
    );
    refused(
        "certificate-of-another-node",
        Check::CertificateSigner,
        Recipe {
            cms: |world, cms| {
                cms.key = Some(&world.node_h37.key);
                cms.hint = Some(world.node_h26.sha256());
            },
            ..base()
        },
    );
    refused(
        "service-certificate-signs-the-checkpoint",
        Check::CertificateSigner,
        Recipe {
            cms: |world, cms| {
                cms.key = Some(&world.service_h26.key);
                cms.hint = Some(world.node_h26.sha256());
            },
            ..base()
        },
    );
    refused("certificate-of-an-unknown-authority", Check::CertificatePath, signed_by!(foreign_node));
    refused("certificate-for-sealing-only", Check::CertificatePath, signed_by!(misused_node));
    refused("certificate-not-yet-valid", Check::CertificateTime, signed_by!(future_node));
    refused("certificate-expired-when-it-signed", Check::CertificateTime, signed_by!(expired_node));
    refused(
        "binding-ended-before-it-signed",
        Check::CertificateBound,
        Recipe { entries: |_, entries| node(entries, "N-H26").certificates[0].valid_to = after(-HOUR_MS), ..base() },
    );
    refused(
        "certificate-revoked-in-the-directory",
        Check::CertificateRevocation,
        Recipe { entries: |_, entries| set_status(entries, KeyStatus::Revoked, after(-HOUR_MS)), ..base() },
    );
    refused(
        "certificate-suspended-in-the-directory",
        Check::CertificateRevocation,
        Recipe { entries: |_, entries| set_status(entries, KeyStatus::Suspended, after(-HOUR_MS)), ..base() },
    );
    refused(
        "certificate-on-the-revocation-list",
        Check::CertificateRevocation,
        Recipe { with_crls: true, now: after(20 * DAY_MS), ..signed_by!(revoked_node) },
    );

    refused("critical-member-of-the-root", Check::RootForm, Recipe { root_bytes: with_critical, ..base() });
    refused(
        "signature-of-another-root",
        Check::RootSignature,
        Recipe { root_signed: |_| b"another root".to_vec(), ..base() },
    );
    refused(
        "root-by-another-operator",
        Check::RootSigner,
        Recipe { root_signer: |world| &world.other_operator, ..base() },
    );
    refused("root-by-a-node", Check::RootSigner, Recipe { root_signer: |world| &world.service_h26, ..base() });
    refused("operator-of-an-unknown-authority", Check::OperatorPath, operated_by!(foreign_operator));
    refused("operator-certificate-for-sealing-only", Check::OperatorPath, operated_by!(misused_operator));
    refused("operator-certificate-younger-than-the-root", Check::OperatorTime, operated_by!(early_operator));
    refused(
        "operator-certificate-on-the-revocation-list",
        Check::OperatorRevocation,
        Recipe { with_crls: true, now: after(20 * DAY_MS), ..operated_by!(revoked_operator) },
    );
    refused(
        "critical-member-of-the-node-entry",
        Check::NodeForm,
        Recipe { entry_bytes: |key, bytes| if key == "node/N-H26" { with_critical(bytes) } else { bytes }, ..base() },
    );
    refused(
        "node-entry-with-a-forged-ledger-key",
        Check::NodeIncluded,
        Recipe {
            ledger: |ledger| ledger.seed = 66,
            node_shown: |entry| {
                if let Entry::Node(node) = entry {
                    node.ledger_key = *ledger_key(&node.origin, 66).public().public_key();
                }
            },
            ..base()
        },
    );
    refused(
        "critical-member-of-the-agency-entry",
        Check::AgencyForm,
        Recipe { entry_bytes: |key, bytes| if key == "agency/H26" { with_critical(bytes) } else { bytes }, ..base() },
    );
    refused(
        "agency-entry-with-a-forged-node",
        Check::AgencyIncluded,
        Recipe {
            event: |event| {
                event.actor.code = Some(code("H37"));
                event.recipient = Some(code("H37"));
            },
            agency_entry: Some("agency/H37"),
            agency_shown: |entry| {
                if let Entry::Agency(agency) = entry {
                    agency.node = Some(node_id("N-H26"));
                }
            },
            ..base()
        },
    );
    refused(
        "root-issued-after-the-event",
        Check::RootIssued,
        Recipe { root: |root| root.issued = after(HOUR_MS), ..base() },
    );
    refused(
        "root-past-its-grace",
        Check::RootCurrent,
        Recipe {
            root: |root| {
                root.issued = after(-40 * DAY_MS);
                root.valid_until = after(-31 * DAY_MS);
            },
            ..base()
        },
    );
    refused(
        "submission-under-another-root",
        Check::RootReliedOn,
        Recipe { submission: |submission| submission.directory.root = Digest::of(b"another"), ..sender() },
    );
    refused(
        "submission-under-a-later-root-with-another-entry",
        Check::RootReliedOn,
        Recipe {
            submission: |submission| {
                submission.directory.version = 4;
                submission.directory.entry = Digest::of(b"another");
            },
            ..sender()
        },
    );

    refused(
        "node-speaks-as-the-relay",
        Check::NodeKind,
        Recipe {
            event: |event| event.actor.node = node_id("N-H26"),
            ledger: |ledger| *ledger = ledger_of("node/N-H26", "N-H26", 2),
            cms: |world, cms| cms.key = Some(&world.node_h26.key),
            ..relay()
        },
    );
    refused(
        "event-of-another-node-in-this-ledger",
        Check::NodeIsActor,
        Recipe { event: |event| event.actor.node = node_id("N-H37"), ..base() },
    );
    refused(
        "ledger-of-another-axis",
        Check::NodeOrigin,
        Recipe {
            ledger: |ledger| ledger.origin = "truc/vn/ordinary/N-H26/1".into(),
            entries: |_, entries| node(entries, "N-H26").origin = "truc/vn/ordinary/N-H26/1".into(),
            ..base()
        },
    );
    refused(
        "node-of-the-classified-lane",
        Check::NodeLane,
        Recipe { entries: |_, entries| node(entries, "N-H26").lane = Lane::Classified, ..base() },
    );
    refused("no-agency-entry", Check::AgencyShown, Recipe { with_agency: false, ..base() });
    refused(
        "entry-of-another-code-of-the-node",
        Check::AgencyIsActor,
        Recipe { agency_entry: Some("agency/H26.18"), ..base() },
    );
    refused(
        "agency-b-consigns-for-agency-a",
        Check::AgencyNode,
        Recipe {
            event: |event| {
                event.actor.code = Some(code("H37"));
                event.recipient = Some(code("H37"));
            },
            agency_entry: Some("agency/H37"),
            ..base()
        },
    );
    refused(
        "agency-b-submits-for-agency-a",
        Check::AgencyNode,
        Recipe {
            submission: |submission| submission.actor.node = node_id("N-H26"),
            ledger: |ledger| *ledger = ledger_of("node/N-H26", "N-H26", 2),
            cms: |world, cms| cms.key = Some(&world.node_h26.key),
            ..sender()
        },
    );
    refused(
        "agency-of-the-other-lane",
        Check::AgencyLane,
        Recipe { entries: |_, entries| agency(entries, "H26").lanes = vec![Lane::Classified], ..base() },
    );
    refused(
        "closed-code",
        Check::CodeInForce,
        Recipe { entries: |_, entries| agency(entries, "H26").valid_to = Some(after(-40 * DAY_MS)), ..base() },
    );
    refused(
        "code-not-yet-open",
        Check::CodeInForce,
        Recipe { entries: |_, entries| agency(entries, "H26").valid_from = after(2 * DAY_MS), ..base() },
    );
    refused(
        "closed-code-that-still-serves-sends",
        Check::CodeInForce,
        Recipe {
            entries: |_, entries| {
                let g22 = agency(entries, "G22");
                g22.valid_to = Some(after(-2 * DAY_MS));
                g22.serves_until = Some(after(2 * DAY_MS));
            },
            ..sender()
        },
    );

    refused("submission-without-preamble", Check::PreambleShown, Recipe { with_preamble: false, ..sender() });
    refused("critical-member-of-the-preamble", Check::PreambleForm, Recipe { preamble_bytes: with_critical, ..base() });
    refused(
        "recipients-out-of-order",
        Check::PreambleForm,
        Recipe { preamble: |preamble| preamble.recipients.reverse(), ..base() },
    );
    refused(
        "preamble-exchanged",
        Check::PreambleHash,
        Recipe { preamble_shown: |preamble| preamble.expires = after(6 * DAY_MS), ..base() },
    );
    refused(
        "envelope-of-another-axis",
        Check::PreambleDomain,
        Recipe { preamble: |preamble| preamble.axis = "test-2".parse().unwrap(), ..base() },
    );
    refused(
        "envelope-of-the-other-lane",
        Check::PreambleDomain,
        Recipe { preamble: |preamble| preamble.lane = Lane::Classified, ..base() },
    );
    refused(
        "secret-on-the-ordinary-lane",
        Check::PreambleLevel,
        Recipe { preamble: |preamble| preamble.level = WireLevel::Mat, ..base() },
    );
    refused(
        "top-secret",
        Check::PreambleLevel,
        Recipe { preamble: |preamble| preamble.level = WireLevel::TuyetMat, ..base() },
    );
    refused(
        "preamble-of-another-envelope",
        Check::PreambleEnvelope,
        Recipe {
            event: |event| event.envelope = Some(truc_proto::EnvelopeId::new(after(-600_000), [8; 10])),
            ..base()
        },
    );
    refused(
        "preamble-of-another-sender",
        Check::PreambleSender,
        Recipe { event: |event| event.sender = code("H05"), ..base() },
    );
    refused(
        "submission-for-another-sender-of-the-node",
        Check::PreambleSender,
        Recipe { preamble: |preamble| preamble.sender = code("G22.01"), ..sender() },
    );
    refused(
        "recipient-was-not-addressed",
        Check::PreambleRecipient,
        Recipe { preamble: |preamble| preamble.recipients = vec![code("H37")], ..base() },
    );
    refused(
        "key-envelope-for-a-hidden-reader",
        Check::SubmissionRecipients,
        Recipe {
            submission: |submission| _ = submission.key_envelopes.insert(code("H99"), Digest::of(b"H99")),
            ..sender()
        },
    );
    refused(
        "recipient-without-key-envelope",
        Check::SubmissionRecipients,
        Recipe { submission: |submission| _ = submission.key_envelopes.remove(&code("H37")), ..sender() },
    );
    refused(
        "event-older-than-its-envelope",
        Check::PreambleTime,
        Recipe { preamble: |preamble| preamble.created = after(HOUR_MS), ..base() },
    );
    refused(
        "signature-older-than-the-event",
        Check::SignedAfter,
        Recipe { cms: |_, cms| cms.signed_at = after(-HOUR_MS), ..base() },
    );
    refused("event-in-the-future", Check::NotFromFuture, Recipe { now: after(-HOUR_MS), ..base() });

    refused(
        "opening-with-another-salt",
        Check::OpeningCommitment,
        Recipe { opening_shown: |opening| opening.salt = [1; 32], ..opened() },
    );
    refused(
        "comment-in-the-manifest",
        Check::ManifestForm,
        Recipe {
            manifest_bytes: |bytes| {
                String::from_utf8(bytes).unwrap().replace("<asic:SigRef", "<!-- x --><asic:SigRef").into_bytes()
            },
            ..opened()
        },
    );
    refused(
        "envelope-json-exchanged",
        Check::EnvelopeIncluded,
        Recipe {
            opening_shown: |opening| {
                let text = String::from_utf8(opening.envelope.clone()).unwrap();
                opening.envelope = text
                    .replace("\"trace\":[]", "\"trace\":[{\"organ\":\"H26\",\"time\":\"2026-11-22T03:00:00.000Z\"}]")
                    .into_bytes();
            },
            ..opened()
        },
    );
    refused(
        "critical-member-of-envelope-json",
        Check::EnvelopeForm,
        Recipe { envelope_bytes: with_critical, ..opened() },
    );
    refused(
        "document-signed-for-another-envelope",
        Check::EnvelopePreamble,
        Recipe { envelope: |envelope| envelope.preamble = Digest::of(b"another preamble"), ..opened() },
    );
    refused(
        "inside-says-another-sender",
        Check::EnvelopeFields,
        Recipe { envelope: |envelope| envelope.sender = code("H05"), ..opened() },
    );
    refused(
        "inside-says-another-level",
        Check::EnvelopeFields,
        Recipe { envelope: |envelope| envelope.level = WireLevel::Mat, ..opened() },
    );
    refused(
        "document-re-targeted",
        Check::EnvelopeRecipients,
        Recipe { envelope: |envelope| _ = envelope.recipients.pop(), ..opened() },
    );
    refused("not-cosigned", Check::Witnesses, witnessed(vec![]));
    refused("too-few-cosignatures", Check::Witnesses, witnessed(vec![cosigned_by(W_R1)]));
    refused(
        "cosigned-by-strangers-alone",
        Check::Witnesses,
        witnessed(vec![cosigned_by(STRANGER), cosigned_by((W_R1.0, 99)), cosigned_by((W_G22.0, 98))]),
    );
    refused(
        "cosigned-by-itself",
        Check::Witnesses,
        Recipe {
            policy: Some(|| policy_of(2, &[W_R1, W_H26])),
            ..witnessed(vec![cosigned_by(W_R1), cosigned_by(W_H26)])
        },
    );
    refused("cosignature-by-another-key", Check::Witnesses, with_a_bent_cosignature(|line| line.really_by = Some(99)));
    refused(
        "cosignature-over-another-root",
        Check::Witnesses,
        with_a_bent_cosignature(|line| {
            line.text = |text| {
                let (start, _) = text.trim_end().rsplit_once('\n').unwrap();
                format!("{start}\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
            };
        }),
    );
    refused(
        "cosignature-over-a-smaller-tree",
        Check::Witnesses,
        with_a_bent_cosignature(|line| line.text = |text| text.replace("\n7\n", "\n3\n")),
    );
    refused(
        "cosignature-from-the-future",
        Check::Witnesses,
        with_a_bent_cosignature(|line| line.after_ms = 2 * DAY_MS),
    );
    refused("cosignature-before-the-event", Check::Witnesses, with_a_bent_cosignature(|line| line.after_ms = -HOUR_MS));
    refused(
        "log-that-the-policy-does-not-name",
        Check::Witnesses,
        Recipe { policy: Some(|| log_policy(W_G22.0, 1)), ..base() },
    );
    refused(
        "log-whose-key-is-another-in-the-policy",
        Check::Witnesses,
        Recipe { policy: Some(|| log_policy(W_H26.0, 98)), ..base() },
    );
    refused("another-document", Check::Document, Recipe { document: Some(b"another document"), ..opened() });

    let mut unknown = |name, against, recipe| cases.push(Case { name, against, outcome: Outcome::Unknown, recipe });
    unknown("provisional", Check::CertificateLine, Recipe { cms: |_, cms| cms.key = None, ..base() });
    unknown(
        "line-by-an-unbound-certificate",
        Check::CertificateLine,
        Recipe { cms: |world, cms| cms.key = Some(&world.node_h37.key), ..base() },
    );
    unknown(
        "certificate-revoked-since",
        Check::CertificateRevocation,
        Recipe { with_crls: true, now: after(20 * DAY_MS), ..signed_by!(later_revoked_node) },
    );
    unknown(
        "certificate-revoked-in-the-directory-since",
        Check::CertificateRevocation,
        Recipe {
            root: |root| root.issued = after(180_000),
            entries: |_, entries| set_status(entries, KeyStatus::Revoked, after(120_000)),
            ..base()
        },
    );
    unknown(
        "certificate-expired-since",
        Check::CertificateExpiry,
        Recipe { now: after(20 * DAY_MS), ..signed_by!(short_node) },
    );
    unknown(
        "operator-certificate-revoked-since",
        Check::OperatorRevocation,
        Recipe { with_crls: true, now: after(20 * DAY_MS), ..operated_by!(later_revoked_operator) },
    );
    unknown(
        "operator-certificate-expired-since",
        Check::OperatorExpiry,
        Recipe { now: after(20 * DAY_MS), ..operated_by!(short_operator) },
    );
    unknown("document-without-opening", Check::Document, Recipe { document: Some(PACKET), ..base() });
    cases.extend(badly_stamped());
    cases
}
