//! Every bound on what comes from outside, in one place (I9). Units stand last in each name.
//!
//! Nothing here is configuration: these are the sizes the formats and the code are built for.

/// Most bytes of one signed JSON statement (preamble, submission, event, entry, root): 500 recipients with long codes fit.
pub const STATEMENT_BYTES_MAX: usize = 256 * 1024;
/// Deepest nesting of a JSON statement.
pub const JSON_DEPTH_MAX: usize = 16;
/// Most recipients of one envelope (QĐ 28/2018 circulars reach about 500).
pub const RECIPIENTS_MAX: usize = 1_000;
/// Most codes in one receiver group: all of them may go into one envelope.
pub const GROUP_CODES_MAX: usize = RECIPIENTS_MAX;
/// Longest name of a receiver group, in characters.
pub const GROUP_NAME_CHARS_MAX: usize = 100;
/// Most receiver groups of one agency.
pub const GROUPS_PER_AGENCY_MAX: usize = 200;
/// Most receiver groups at one node.
pub const GROUPS_PER_NODE_MAX: usize = 5_000;
/// Most codes in all receiver groups of one node: they lie in memory.
pub const GROUP_CODES_PER_NODE_MAX: usize = 500_000;
/// Most receiver groups that one request to send may name.
pub const GROUPS_PER_REQUEST_MAX: usize = 20;
/// Longest text of one signed note (a checkpoint or a statement note) with all its signature lines.
pub const NOTE_BYTES_MAX: usize = 512 * 1024;
/// Most signature lines on one note (Go's sumdb/note stops at the same number).
pub const NOTE_SIGNATURES_MAX: usize = 100;
/// Most cosignatures that a relay waits for and puts under one of its checkpoints: receipts carry all of them.
pub const COSIGNATURES_MAX: usize = 16;
/// So long a checkpoint that the certificate has signed waits for witnesses before it is published without them, in milliseconds.
pub const COSIGN_WAIT_MS: u64 = 1_500;
/// A witness that so many times in a row was asked and did not answer in time is asked on, and not waited for.
pub const COSIGN_MISSES_MAX: u32 = 3;
/// At least so long lies between two checkpoints of one ledger that a witness cosigns, in milliseconds.
pub const COSIGN_GAP_MS: u64 = 500;
/// A relay notes at most one checkpoint of each node in its own ledger in so long, in milliseconds.
pub const CHECKPOINT_LOGGED_EVERY_MS: i64 = 60_000;
/// Longest file with two checkpoints of one ledger (two notes in base64).
pub const FORK_BYTES_MAX: usize = 2 * (NOTE_BYTES_MAX / 3 * 4 + 8) + 64;
/// Most such files in one folder; beyond, the journal alone keeps the proof.
pub const FORK_FILES_MAX: usize = 256;
/// Longest witness policy that is read (C2SP tlog-policy).
pub const POLICY_BYTES_MAX: usize = 256 * 1024;
/// Most lines of a witness policy: all nodes of an axis as witnesses, with room for comments.
pub const POLICY_LINES_MAX: usize = 4_096;
/// Longest origin line of a checkpoint (C2SP tlog-cosignature).
pub const ORIGIN_BYTES_MAX: usize = 255;
/// Most hashes in one inclusion or consistency proof: a tree of 2^63 leaves has no longer one.
pub const PROOF_HASHES_MAX: usize = 64;
/// Longest life of an envelope, from `created` to `expires`, in milliseconds: 30 days.
pub const ENVELOPE_TTL_MAX_MS: i64 = 30 * 86_400_000;
/// Most codes in a chain of successors: each closed, its mail gone to the next.
pub const SUCCESSIONS_MAX: usize = 16;
/// How far an event's time may lie ahead of the reader's clock, in milliseconds: 5 minutes.
pub const FUTURE_SKEW_MAX_MS: i64 = 5 * 60_000;
/// How long after an event's own time it may be signed or time-stamped before that is remarked on, in milliseconds: an hour.
pub const PROVEN_LATE_MS: i64 = 60 * 60_000;
/// How long before its signature a bundle may have been begun, in milliseconds: a day.
pub const BUNDLE_MADE_MS_MAX: i64 = 86_400_000;
/// Most attachments of one document.
pub const ATTACHMENTS_MAX: usize = 500;
/// Longest name of an attachment or container entry, in bytes.
pub const NAME_BYTES_MAX: usize = 1_024;
/// Longest text field of a business status, in characters (BussinessDocReason in validators: 500).
pub const STATUS_TEXT_CHARS_MAX: usize = 1_000;
/// Most business statuses between two agencies about one document that are kept in sight; what comes later is in the journal alone.
pub const STATUS_NOTES_MAX: usize = 128;
/// Most earlier documents that one document is shown to replace.
pub const CHANGE_TARGETS_MAX: usize = 64;
/// Most later documents that one document is shown to be changed by: the newest.
pub const CHANGES_SHOWN_MAX: usize = 16;
/// Longest reason for updating or replacing an earlier document, in characters: what receivers' validators let through.
pub const CHANGE_REASON_CHARS_MAX: usize = 500;
/// Most requests to withdraw that wait for their document; of more the oldest go.
pub const EARLY_STATUSES_MAX: usize = 4_096;
/// Most names, old codes or certificates in one directory entry.
pub const ENTRY_LIST_MAX: usize = 64;
/// Longest name in a directory entry, in characters.
pub const ENTRY_NAME_CHARS_MAX: usize = 500;
/// Most entries of one directory: the national one has about 125,000.
pub const DIRECTORY_ENTRIES_MAX: usize = 400_000;
/// Longest file of a whole directory version, and most bytes its entries may have together.
pub const DIRECTORY_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// How long after `valid_until` a directory version still serves (with an alarm), in milliseconds: 30 days.
pub const DIRECTORY_GRACE_MS: i64 = 30 * 86_400_000;
/// Longest `*.binding` file.
pub const BINDING_BYTES_MAX: usize = STATEMENT_BYTES_MAX;
/// Most items in one batch of evidence.
pub const EVIDENCE_ITEMS_MAX: usize = 4_096;
/// Most deliveries of evidence that a node keeps at hand because they may hold later; the relay keeps them all.
pub const EVIDENCE_LATER_MAX: usize = 64;
/// Most verified root signatures a receipt verifier remembers.
pub const ROOTS_CACHED_MAX: usize = 4_096;
/// Largest receipt file in bytes.
pub const RECEIPT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Payloads below this size travel and are stored inline, in bytes.
pub const INLINE_PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// Longest agency code in bytes (QĐ 20/2020/QĐ-TTg).
pub const AGENCY_ID_BYTES_MAX: usize = 35;
/// Longest code of somebody else's making, in characters.
pub const FOREIGN_CODE_CHARACTERS_MAX: usize = 100;
/// Most codes offered as "did you mean".
pub const NEAREST_CODES_MAX: usize = 5;

// Keys and certificates (truc-signer).

/// Most bytes of one X.509 certificate (government certificates are about 2 KiB).
pub const CERTIFICATE_BYTES_MAX: usize = 16 * 1024;
/// Certificates that are kept as they were read last.
pub const CERTIFICATES_READ_MAX: usize = 256;
/// Most bytes of one PEM file with certificates or a key.
pub const PEM_BYTES_MAX: usize = 1024 * 1024;
/// Most certificates in one PEM file.
pub const PEM_CERTIFICATES_MAX: usize = 256;
/// Most bytes of one PKCS#12 file.
pub const PKCS12_BYTES_MAX: usize = 1024 * 1024;
/// Most bytes of one CMS signature with its certificates (and content, where it is attached).
pub const CMS_BYTES_MAX: usize = 1024 * 1024;
/// Deepest nesting of a CMS structure that arrives in BER.
pub const CMS_DEPTH_MAX: usize = 32;
/// Most certificates carried inside one CMS signature.
pub const CMS_CERTIFICATES_MAX: usize = 16;
/// Most signed or unsigned attributes of one CMS signature.
pub const CMS_ATTRIBUTES_MAX: usize = 32;
/// Most bytes of what a time-stamping authority answers (tokens with a chain are 3 to 8 KiB).
pub const TIME_STAMP_BYTES_MAX: usize = 64 * 1024;
/// Widest accuracy of a time-stamp that is taken, in milliseconds (EN 319 421 asks for a second).
pub const TIME_STAMP_ACCURACY_MS_MAX: u64 = 60_000;
/// Most records of the journal after a leaf among which its first checkpoint with all that was asked for is looked for: many seconds of full work.
pub const ATTESTED_LOOKED_FOR_MAX: usize = 4_096;
/// Longest time between two time-stamped checkpoints, in seconds.
pub const TIME_STAMP_EVERY_S_MAX: u64 = 60;
/// Most time-stamping authorities that are asked in turn.
pub const TIME_STAMP_SERVERS_MAX: usize = 8;
/// Most characters shown of what a time-stamping authority says about a refusal.
pub const TIME_STAMP_TEXT_CHARS_MAX: usize = 200;
/// Most bytes of a key manifest inside a key envelope.
pub const KEY_MANIFEST_BYTES_MAX: usize = 8 * 1024;
/// Most bytes of one key envelope (CMS AuthEnvelopedData).
pub const KEY_ENVELOPE_BYTES_MAX: usize = 16 * 1024;
/// Most recipients inside one key envelope; we write exactly one.
pub const KEY_ENVELOPE_RECIPIENTS_MAX: usize = 8;
/// Most bytes of one certificate revocation list (200,000 entries are about 7.4 MB).
pub const CRL_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most entries of one certificate revocation list.
pub const CRL_ENTRIES_MAX: usize = 1_000_000;
/// Most issuers whose certificates one (indirect) revocation list names.
pub const CRL_ISSUERS_MAX: usize = 1_024;
/// Most authorities between a certificate and its anchor.
pub const PATH_AUTHORITIES_MAX: usize = 6;
/// Most signatures that are checked to find one certificate's path.
pub const PATH_SIGNATURES_MAX: usize = 100;
/// Most candidates that are looked at to find one certificate's path.
pub const PATH_STEPS_MAX: usize = 4_096;
/// Most comparisons of a name with a constraint on one path.
pub const NAME_COMPARISONS_MAX: usize = 250_000;
/// Most policies, and most policy mappings, of one certificate.
pub const CERTIFICATE_POLICIES_MAX: usize = 128;
/// Most revocation lists, anchors or intermediates (each) of one trust store.
pub const TRUST_STORE_ITEMS_MAX: usize = 256;
/// Most bytes of what an OCSP responder answers (answers with a responder's certificate are 1 to 4 KiB).
pub const OCSP_BYTES_MAX: usize = 32 * 1024;
/// Most certificates that one OCSP answer speaks of.
pub const OCSP_SINGLES_MAX: usize = 16;
/// Most certificates in one OCSP answer.
pub const OCSP_CERTIFICATES_MAX: usize = 8;
/// How long an OCSP answer counts that does not say when the next one comes.
pub const OCSP_AGE_MS_MAX: u64 = 60 * 60 * 1_000;
/// Most OCSP answers about one certificate that are weighed as evidence; of more the first count.
pub const OCSP_ANSWERS_OF_ONE_MAX: usize = 8;
/// Most OCSP answers of a bundle that count; of more the first do.
pub const BUNDLE_ANSWERS_MAX: usize = 2_048;
/// Most OCSP answers that are kept, and most certificates that wait to be asked about.
pub const OCSP_ANSWERS_MAX: usize = 4_096;
/// Most addresses, each, that revocation lists and OCSP answers are fetched from.
pub const REVOCATION_SOURCES_MAX: usize = 64;
/// Longest that anything may wait for an OCSP answer, in milliseconds.
pub const REVOCATION_BUDGET_MS_MAX: u64 = 10_000;
/// Most path verdicts a trust store remembers; beyond that it forgets all and starts again.
pub const VERDICTS_CACHED_MAX: usize = 262_144;
/// Most bytes of a secret wrapped under the storage key.
pub const WRAPPED_SECRET_BYTES_MAX: usize = 4 * 1024;
/// Memory for what is sorted when the storage key changes, in bytes; what is more goes through files.
pub const STORAGE_KEY_SORT_BYTES: usize = 32 * 1024 * 1024;
/// Most bytes of one line of what a change of the storage key replaces: a whole file of webhooks or systems.
pub const STORAGE_KEY_CHANGE_BYTES_MAX: u64 = 2 * TOKEN_FILE_BYTES_MAX + 64 * 1024;
/// Most bytes of a storage key file, plain or sealed.
pub const STORAGE_KEY_FILE_BYTES_MAX: usize = 64 * 1024;

/// Most bytes of one journal record, state and leaf together: a submission with 1,000 key envelopes inline fits.
pub const RECORD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most bytes of the records submitted to the journal at once; they are recovered all or none.
pub const SUBMISSION_RECORDS_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most records submitted to the journal at once.
pub const SUBMISSION_RECORDS_MAX: usize = 4_096;
/// After this many records the committer closes a batch.
pub const BATCH_RECORDS_MAX: usize = 1_024;
/// After this many bytes the committer closes a batch.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most submissions that wait for the committer; beyond it the answer is Busy.
pub const COMMIT_QUEUE_MAX: usize = 8_192;
/// Most bytes of records that wait for the committer; beyond it the answer is Busy.
pub const COMMIT_QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// First segment file of a journal; each later one is twice as long up to [`SEGMENT_BYTES_MAX`].
pub const SEGMENT_BYTES_MIN: u64 = 1024 * 1024;
/// Longest segment file of a journal.
pub const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Longest entry of a snapshot of the fold.
pub const SNAPSHOT_ENTRY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest blob: an envelope's payload. 4 GiB documents with their sealing overhead fit.
pub const BLOB_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;
/// Longest name of a blob upload.
pub const UPLOAD_NAME_BYTES_MAX: usize = 96;
/// Longest key of the look-up index.
pub const INDEX_KEY_BYTES_MAX: usize = 512;
/// Most look-ups that may be inside the index's engine at once; beyond it the answer is that the index does not answer now.
pub const INDEX_LOOK_UPS_MAX: usize = 64;
/// Most hits that one look-up by prefix returns.
pub const INDEX_HITS_MAX: usize = 1_000;
/// Most blocks of lists that one look-up reads; it goes on behind them when asked again.
pub const INDEX_BLOCKS_MAX: usize = 8_192;
/// Plaintext bytes of one chunk of a sealed payload, suite S1; also the most any sealed stream may use.
pub const STREAM_CHUNK_BYTES: usize = 1024 * 1024;
/// Smallest chunk of a sealed stream: below this the tags would outweigh the content.
pub const STREAM_CHUNK_BYTES_MIN: usize = 1024;
/// Most chunks of one sealed stream: the counter in the nonce has 32 bits.
pub const STREAM_CHUNKS_MAX: u64 = 1 << 32;
/// Most bytes of one container, and most decoded bytes of all its entries together: a 4 GiB attachment in base64 fits; sealed,
/// with a tag for each chunk, the container stays below [`BLOB_BYTES_MAX`].
pub const CONTAINER_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024 - 1024 * 1024;
/// Most bytes of a `status.json` in a bundle: three texts of [`STATUS_TEXT_CHARS_MAX`] fit, however they are escaped.
pub const STATUS_BYTES_MAX: usize = 64 * 1024;
/// Most entries of one container, `mimetype`, manifest and signature included.
pub const CONTAINER_ENTRIES_MAX: usize = 1_000;
/// Most entries of one bundle: some ten receipts and files of statuses for each of [`RECIPIENTS_MAX`] recipients.
pub const BUNDLE_ENTRIES_MAX: usize = 12_000;
/// Most business statuses that a node puts into a bundle; of more the latest.
pub const BUNDLE_STATUSES_MAX: usize = 1_000;
/// Most certificates that stand beside the receipts of a bundle.
pub const BUNDLE_CERTIFICATES_MAX: usize = 4_000;
/// Decoded bytes a container may hold for each byte it takes, once past [`CONTAINER_RATIO_GRACE_BYTES`].
pub const CONTAINER_RATIO_MAX: u64 = 200;
/// Decoded bytes of a container below which its ratio of compression is not looked at.
pub const CONTAINER_RATIO_GRACE_BYTES: u64 = 16 * 1024 * 1024;
/// Longest name of a container's entry in UTF-8: the longest attachment name of edXML (500 characters) with a folder before it.
pub const ENTRY_NAME_BYTES_MAX: usize = 2_048;
/// Longest media type of a container's entry.
pub const MEDIA_TYPE_BYTES_MAX: usize = 255;
/// Largest `META-INF/ASiCManifest.xml`.
pub const ASIC_MANIFEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most namespaces that one element of a manifest declares.
pub const ASIC_MANIFEST_NAMESPACES_MAX: usize = 16;
/// Largest `META-INF/signature001.p7s`: a CMS with its chain and a time-stamp takes about 20 KB.
pub const ASIC_SIGNATURE_BYTES_MAX: usize = 256 * 1024;
/// Deepest nesting of an edXML packet.
pub const XML_DEPTH_MAX: usize = 100;
/// Most elements of an edXML packet: a thousand recipients of eight fields, a manifest and room.
pub const XML_ELEMENTS_MAX: usize = 50_000;
/// Most attributes on one element of an edXML packet.
pub const XML_ATTRIBUTES_MAX: usize = 64;
/// Longest name of an element or attribute, in bytes.
pub const XML_NAME_BYTES_MAX: usize = 256;
/// Longest single tag, comment, text or CDATA section outside attachment content, in bytes.
pub const XML_PIECE_BYTES_MAX: usize = 64 * 1024;
/// Most text that is kept of one packet outside attachment content, in bytes.
pub const XML_KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most warnings kept about one packet; the rest are counted.
pub const XML_WARNINGS_MAX: usize = 200;
/// Largest edXML packet in bytes, base64 included.
pub const PACKET_BYTES_MAX: u64 = 24 * 1024 * 1024 * 1024;
/// Largest decoded attachment in bytes.
pub const ATTACHMENT_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// Most a zipped attachment may grow when unzipped, once past [`ZIP_RATIO_FREE_BYTES`].
pub const ZIP_RATIO_MAX: u64 = 200;
/// Unzipped size in bytes below which [`ZIP_RATIO_MAX`] is not asked.
pub const ZIP_RATIO_FREE_BYTES: u64 = 16 * 1024 * 1024;
/// Longest name of a ZIP entry in bytes.
pub const ZIP_NAME_BYTES_MAX: usize = 512;
/// Longest part of a one-entry ZIP behind its data (descriptor, directory, comments), in bytes.
pub const ZIP_TAIL_BYTES_MAX: usize = 128 * 1024;
/// Longest extension of an attachment's name in bytes: the SDK fails above about 215.
pub const EXTENSION_BYTES_MAX: usize = 200;

// Links between nodes and relay (truc-link).

/// Most TLS handshakes in progress on one listener; further connections wait in the kernel.
pub const ACCEPT_PENDING_MAX: usize = 256;
/// Most TLS handshakes that wait at once for a key in a token; one more is refused and comes again.
pub const TOKEN_HANDSHAKES_MAX: usize = 8;
/// Most connections of one listener, those in handshake included.
pub const CONNECTIONS_MAX: usize = 4_096;
/// Most connections that one peer may hold at a time.
pub const CONNECTIONS_PER_PEER_MAX: usize = 32;
/// Longest TLS handshake in milliseconds, from the TCP connection on.
pub const HANDSHAKE_MS_MAX: u64 = 5_000;
/// Age in seconds at which a connection is asked to end, so that no verdict on a certificate outlives it for long.
pub const CONNECTION_AGE_S_MAX: u64 = 3_600;
/// Time in seconds that calls in progress have to end on a connection past [`CONNECTION_AGE_S_MAX`].
pub const CONNECTION_GRACE_S_MAX: u64 = 1_800;
/// Most certificates a peer may send in one handshake.
pub const CHAIN_CERTIFICATES_MAX: usize = 8;
/// Most concurrent calls on one connection.
pub const CONNECTION_CALLS_MAX: u32 = 256;
/// Largest block of call headers in bytes.
pub const CALL_HEADER_BYTES_MAX: u32 = 16 * 1024;

// Nodes and relay.

/// Most open envelopes that a node or relay keeps in memory; beyond it the answer is Busy.
pub const OPEN_ENVELOPES_MAX: usize = 4_000_000;
/// Most finalisations kept for leaves that have not come yet; the oldest go first.
pub const FINALS_PARKED_MAX: usize = 65_536;
/// Most own leaves of a node that others are shown once more when the time-stamp or the cosignature comes that was missing; the oldest go first.
pub const NODE_UNATTESTED_MAX: usize = 100_000;
/// The same of the relay, for all nodes together.
pub const RELAY_UNATTESTED_MAX: usize = 1_000_000;
/// Of both the part that is kept while there is nobody who could say what is missing, because the directory lists no witness: one in so many.
pub const UNATTESTED_WITHOUT_WITNESS: usize = 10;
/// How long a business status stays in memory for a document system that has not taken it, in milliseconds: 90 days.
pub const STATUS_UNREAD_MAX_MS: u64 = 90 * 86_400_000;
/// Longest idempotency key, in characters of printable ASCII.
pub const IDEMPOTENCY_KEY_CHARS_MAX: usize = 128;
/// Most ids of finished envelopes that the relay remembers at once; beyond it the answer is Busy.
pub const REMEMBERED_IDS_MAX: usize = 50_000_000;
/// Most pieces of evidence about one recipient of one envelope that the relay keeps although they move nothing: a document system that
/// refuses again and again writes one each time.
pub const EVIDENCE_PER_RECIPIENT_MAX: usize = 32;
/// Most pieces of evidence that the relay keeps about one envelope that is older than its memory of ids.
pub const RECALLED_EVIDENCE_MAX: usize = 4 * RECIPIENTS_MAX;
/// Most envelopes older than the relay's memory of ids whose late evidence it remembers by hash; the oldest are forgotten first.
pub const RECALLED_ENVELOPES_MAX: usize = 1_000_000;
/// Most checkpoints of one node's ledger that the relay keeps until the node proves that they are of one history: the oldest ones and the newest.
pub const PEER_MARKS_MAX: usize = 16;
/// Most refusals that the relay writes for other contents under one id; whoever goes on hears the last one again.
pub const REFUSALS_PER_ID_MAX: usize = 8;
/// Most deliveries of evidence that wait for one node; beyond it the answer to those who push is Busy.
pub const DELIVERIES_PER_NODE_MAX: usize = 1_000_000;
/// Most recipients that fail by time in one step; the next step follows at once.
pub const EXPIRIES_PER_TICK_MAX: usize = 512;
/// Most of the relay's own leaves whose final proofs go to a node in one delivery: about 400 KB.
pub const FINAL_LEAVES_PER_DELIVERY_MAX: usize = 512;

// The node's local side.

/// Most bearer tokens of one node.
pub const TOKENS_MAX: usize = 1_000;
/// Longest name of a bearer token, in characters.
pub const TOKEN_NAME_CHARS_MAX: usize = 40;
/// Longest name of an administrator in the ledger, in characters: a token's, a certificate's, or as given at the machine.
pub const ADMINISTRATOR_NAME_CHARS_MAX: usize = 200;
/// Longest description of what an administrator did something to, in characters.
pub const ADMINISTRATION_SUBJECT_CHARS_MAX: usize = 500;
/// Longest reason that an administrator gives, in characters.
pub const ADMINISTRATION_WHY_CHARS_MAX: usize = 1_000;
/// Most entries of the log of what administrators did in one answer.
pub const ADMINISTRATION_LOGGED_MAX: usize = 500;
/// Most requests of administrators that wait for a second one, or waited lately.
pub const ADMINISTRATION_WISHES_MAX: usize = 100;
/// How long such a request can be approved, and once approved be carried out, in milliseconds.
pub const ADMINISTRATION_WISH_MS_MAX: u64 = 86_400_000;
/// Longest PIN of a PKCS#11 token, in bytes.
pub const PIN_BYTES_MAX: usize = 255;
/// Most notes on what was done at a node's machine that wait for its ledger.
pub const ADMINISTRATION_NOTES_MAX: usize = 1_000;
/// Longest such note in bytes.
pub const ADMINISTRATION_NOTE_BYTES_MAX: u64 = 16 * 1024;
/// Longest token file in bytes.
pub const TOKEN_FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Longest settings file in bytes.
pub const SETTINGS_BYTES_MAX: u64 = 1024 * 1024;
/// Most agencies of one node; most are in the tens.
pub const NODE_AGENCIES_MAX: usize = 1_000;
/// Most certificates with keys of one agency and use: the current one and older ones that may still have to open mail.
pub const AGENCY_KEYS_MAX: usize = 16;
/// Most documents that clients of the local APIs send or fetch at once: each may hold a thread while its client is slow.
pub const CLIENT_STREAMS_MAX: usize = 256;
/// What of a packet may stand before its header is known and is kept in memory, in bytes; beyond it is spooled, encrypted.
pub const SPOOL_MEMORY_BYTES_MAX: usize = 1024 * 1024;
/// Packets up to this length are parsed from memory when an envelope is opened; longer ones while they stream by.
pub const PARSED_IN_MEMORY_BYTES_MAX: usize = 256 * 1024;
/// Most questions that wait for the relay's core; beyond it the answer is Busy.
pub const RELAY_QUESTIONS_MAX: usize = 4_096;
/// Most bytes of one offer with its key envelopes: it becomes one record of the journal.
pub const OFFER_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Most offers whose payload is being uploaded at once.
pub const UPLOADS_MAX: usize = 4_096;
/// Most bytes of one message between node and relay.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most certificates of a node that the relay looks for at once in what waits for it.
pub const NODE_KEYS_ASKED_MAX: usize = 64;
/// Most envelopes that it looks through for them.
pub const SEALED_TO_LOOKED_MAX: usize = 20_000;
/// Most ids on one page of the list of undelivered envelopes.
pub const UNDELIVERED_PAGE_MAX: usize = 4_096;
/// Most envelopes in one request to reconcile.
pub const RECONCILE_MAX: usize = 16_384;
/// Most codes that change their node in one directory version: the relay journals them as one record.
pub const MOVED_CODES_MAX: usize = 40_000;

// Search of documents.

/// Most characters of a search for documents: a whole subject, pasted, fits.
pub const SEARCH_CHARS_MAX: usize = 1_000;
/// Most different words of a search for documents.
pub const SEARCH_WORDS_MAX: usize = 64;
/// Most different words that one document is found by.
pub const DOCUMENT_WORDS_MAX: usize = 256;
/// Most documents that are read from the journal for one page of a search; the next page goes on behind them.
pub const SEARCH_READ_MAX: usize = 1_000;
/// Most recipients that an entry of a search names; it says how many there are.
pub const SEARCH_RECIPIENTS_MAX: usize = 20;
/// Longest number and notation, or type in words, that is kept beside a document for lists, in characters.
pub const PARTICULAR_CHARS_MAX: usize = 200;

// The directory at national size.

/// Most characters of a search in the directory; more are a mistake, not a question.
pub const DIRECTORY_SEARCH_CHARS_MAX: usize = 200;
/// Most words of a search in the directory that are looked at.
pub const DIRECTORY_SEARCH_WORDS_MAX: usize = 16;
/// Most entries that one search in the directory returns.
pub const DIRECTORY_HITS_MAX: usize = 200;
/// Most parsed certificates that a directory version keeps at hand; the others lie on the disk.
pub const DIRECTORY_CERTIFICATES_CACHED_MAX: usize = 1_024;
/// Longest CSV file of codes in bytes: 400,000 lines of a code, a name and times fit.
pub const CODE_LIST_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Longest field of a CSV file of codes in bytes.
pub const CODE_LIST_FIELD_BYTES_MAX: usize = 8 * 1024;
/// Most columns of a CSV file of codes.
pub const CODE_LIST_COLUMNS_MAX: usize = 64;
/// Most problems named about one CSV file of codes; the rest are counted.
pub const CODE_LIST_PROBLEMS_MAX: usize = 1_000;
/// Most bytes of the changes from one directory version to another; a larger difference travels as a whole version.
pub const DIRECTORY_DELTA_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most keys of changed entries that the relay keeps in memory to answer with differences.
pub const DIRECTORY_CHANGES_KEPT_MAX: usize = 200_000;

// The axis SDK's API (proto/src/sdk, node/src/sdk).

/// Longest signed header of a call: a thousand recipients fit.
pub const SDK_SIGNED_BYTES_MAX: usize = 48 * 1024;
/// Most parameters of one call; clients send about ten.
pub const SDK_PARAMETERS_MAX: usize = 64;
/// Longest value of one parameter in bytes.
pub const SDK_PARAMETER_BYTES_MAX: usize = 40 * 1024;
/// Most document systems of one node.
pub const SDK_SYSTEMS_MAX: usize = 1_000;
/// Longest id of a document system, in characters.
pub const SDK_SYSTEM_ID_CHARS_MAX: usize = 64;
/// Largest packet that is taken from a client of the SDK, in bytes: it holds the whole file in memory, so 1 GiB is more than any sends.
pub const SDK_PACKET_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Largest status packet in bytes.
pub const SDK_STATUS_BYTES_MAX: u64 = 256 * 1024;
/// Largest body of any other call in bytes; what is longer is read and thrown away.
pub const SDK_BODY_BYTES_MAX: usize = 64 * 1024;
/// Largest block of headers in bytes: recipients stand there twice.
pub const SDK_HEADER_BYTES_MAX: usize = 128 * 1024;
/// Most headers of one call.
pub const SDK_HEADERS_MAX: usize = 200;
/// Most items of one list: the oldest; further ones follow when these are taken.
pub const SDK_LIST_ITEMS_MAX: usize = 1_000;
/// Most connections of the SDK's listener: its clients leave one open for each list they read.
pub const SDK_CONNECTIONS_MAX: usize = 16_384;
/// Most packets that are being received at once.
pub const SDK_PACKETS_MAX: usize = 64;
/// Most agency requests that wait for the axis operator.
pub const SDK_REQUESTS_MAX: usize = 1_000;
/// Longest text about an agency in such a request, in characters.
pub const SDK_AGENCY_TEXT_CHARS_MAX: usize = 500;
/// Longest file of agency requests in bytes.
pub const SDK_REQUEST_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How long a connection may be silent between calls, and a call's headers may take, in milliseconds.
pub const SDK_IDLE_MS_MAX: u64 = 30_000;
/// How long a call's body may make no progress, in milliseconds.
pub const SDK_STALL_MS_MAX: u64 = 30_000;
/// How long a call's body may take altogether, in milliseconds: 30 minutes.
pub const SDK_BODY_MS_MAX: u64 = 30 * 60_000;

/// Most connections of the local API over TLS; further ones are closed at once.
pub const LOCAL_CONNECTIONS_MAX: usize = 256;

// REST (node/src/rest).

/// Most connections of the REST listener; further ones wait in the kernel.
pub const REST_CONNECTIONS_MAX: usize = 4_096;
/// Largest block of headers of one request, and most bytes read from a connection at once.
pub const REST_HEADER_BYTES_MAX: usize = 32 * 1024;
/// Most headers of one request.
pub const REST_HEADERS_MAX: usize = 100;
/// Largest JSON body or JSON part in bytes: a thousand recipients and long fields fit.
pub const REST_JSON_BYTES_MAX: usize = 256 * 1024;
/// Most bytes of a multipart body that are looked at without finding a part or its content: preamble and headers of one part.
pub const REST_PART_HEADER_BYTES_MAX: usize = 256 * 1024;
/// Most of a body that is read and thrown away after the answer is known, so that a client that sends everything first sees it.
pub const REST_DISCARD_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How long a connection may be silent between requests, and a request's headers may take, in milliseconds.
pub const REST_IDLE_MS_MAX: u64 = 60_000;
/// How long a body that comes in, or a client that takes an answer, may make no progress, in milliseconds.
pub const REST_STALL_MS_MAX: u64 = 30_000;
/// Longest wait of one long poll, in seconds: below what proxies and clients cut off by themselves.
pub const REST_WAIT_S_MAX: u32 = 55;
/// Longest query of a request in bytes.
pub const REST_QUERY_BYTES_MAX: usize = 16 * 1024;
/// Most open documents that a watch looks at in one step of the core.
pub const WATCH_SCAN_MAX: usize = 10_000;
/// Most uploads that are kept at once.
pub const REST_UPLOADS_MAX: usize = 1_000;
/// Most uploads of one token that are kept at once.
pub const REST_UPLOADS_PER_TOKEN_MAX: usize = 100;
/// Most pieces that one upload may come in, each of at most 1 MiB: the largest packet fits five times over.
pub const REST_UPLOAD_SEGMENTS_MAX: usize = 131_072;

// Webhooks (node/src/webhooks).

/// Most webhooks of a node.
pub const WEBHOOKS_MAX: usize = 256;
/// Most webhooks of one token.
pub const WEBHOOKS_PER_TOKEN_MAX: usize = 16;
/// Longest address of a webhook in bytes.
pub const WEBHOOK_URL_BYTES_MAX: usize = 2_000;
/// Most journal records that a webhook looks at in one step.
pub const WEBHOOK_STEP: u64 = 256;
/// How long one delivery of a webhook may take altogether, in milliseconds.
pub const WEBHOOK_CALL_MS_MAX: u64 = 15_000;
/// Most bytes of a receiver's answer that are read; what it says is only for the log.
pub const WEBHOOK_ANSWER_BYTES_MAX: usize = 1_024;
/// Longest head of a receiver's answer in bytes.
pub const WEBHOOK_HEADER_BYTES_MAX: usize = 16 * 1024;
/// After so many refusals of one message (4xx) it is passed over, so that those behind it go on.
pub const WEBHOOK_REFUSALS_MAX: u32 = 5;
/// Longest wait between two attempts, in milliseconds.
pub const WEBHOOK_RETRY_MS_MAX: u64 = 3_600_000;
/// A receiver that takes nothing for so long gets nothing more until its webhook is resumed, in milliseconds: three days.
pub const WEBHOOK_PATIENCE_MS: u64 = 3 * 86_400_000;
/// Longest name that today's axis may give a document, in bytes.
pub const SDK_DOC_ID_BYTES_MAX: usize = 200;
/// Longest answer of today's axis, the packet in a getEdoc aside, in bytes.
pub const GATEWAY_ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest head of such an answer, in bytes.
pub const GATEWAY_HEADER_BYTES_MAX: usize = 64 * 1024;
/// Longest call to today's axis, in milliseconds, however steadily it goes on.
pub const GATEWAY_CALL_MS_MAX: u64 = 60 * 60_000;

// Signed PDFs (signer/src/pades).

/// Largest PDF that is signed, in bytes. Signing holds it about four times over.
pub const PDF_SIGN_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Largest that one stream of such a PDF may become when it is unpacked to find objects, in bytes.
pub const PDF_STREAM_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Room that a PDF keeps for its signature (CMS), in bytes: certificates and a later time-stamp fit.
pub const PDF_SIGNATURE_BYTES_MAX: usize = 16 * 1024;
/// Most form fields of a PDF that are looked at for locks of earlier signatures.
pub const PDF_FIELDS_MAX: usize = 10_000;
/// Most lines in the box of a visible signature.
pub const PDF_BOX_LINES_MAX: usize = 12;
/// Longest line in that box, in characters.
pub const PDF_BOX_LINE_CHARS_MAX: usize = 200;

// Reports (report/src).

/// Most text in a report, in bytes.
pub const REPORT_TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest paragraph, line or cell of a report, in bytes.
pub const REPORT_PARAGRAPH_BYTES_MAX: usize = 16 * 1024;
/// Most pages of a report.
pub const REPORT_PAGES_MAX: usize = 2_000;
/// Most columns of a table in a report.
pub const REPORT_COLUMNS_MAX: usize = 12;

/// Most versions in one audit of the directory: one a day for fifty years.
pub const AUDIT_VERSIONS_MAX: u64 = 20_000;
/// Longest statement in an audit: root, signature and entries with their proofs, in base64.
pub const AUDIT_STATEMENT_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Most changes of a code's bindings that one audit tells; more are no real directory.
pub const AUDIT_BINDINGS_MAX: usize = 10_000;

// Metrics (link/src/metrics.rs).

/// Most connections of a metrics listener.
pub const METRICS_CONNECTIONS_MAX: usize = 32;
/// Longest head of a request for metrics, in bytes.
pub const METRICS_HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long a request for metrics may take altogether, in milliseconds.
pub const METRICS_CALL_MS_MAX: u64 = 10_000;

// Deadlines and statistics (node/src/duties, node/src/statistics).

/// Longest file of a calendar of working days, in bytes.
pub const CALENDAR_BYTES_MAX: usize = 256 * 1024;
/// Most days of such a calendar that are no plain weekday or weekend.
pub const CALENDAR_DAYS_MAX: usize = 5_000;
/// Most duties in one list.
pub const DUTIES_LISTED_MAX: usize = 5_000;
/// Most days of one request for statistics.
pub const STATISTICS_DAYS_MAX: i64 = 366;
/// Most rows of statistics, one per agency and day.
pub const STATISTICS_ROWS_MAX: usize = 50_000;

// Backups (evidence/src/backup).

/// Longest path of a file in a backup, in bytes: what an ustar header holds in name and prefix.
pub const BACKUP_PATH_BYTES_MAX: usize = 255;
/// Most folders inside each other in a backup.
pub const BACKUP_DEPTH_MAX: usize = 12;
/// Most files of a backup.
pub const BACKUP_FILES_MAX: u64 = 100_000_000;
/// Longest file of a backup in bytes: what an ustar header can say.
pub const BACKUP_FILE_BYTES_MAX: u64 = (1 << 33) - 1;
/// Longest half of a backup's key as a file, in bytes.
pub const BACKUP_HALF_BYTES_MAX: usize = 4 * 1024;
/// Longest note of a restored machine about the backup it was made from, in bytes.
pub const RESTORED_BYTES_MAX: usize = 8 * 1024;
