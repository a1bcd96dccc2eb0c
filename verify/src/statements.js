// The statements that a receipt carries (docs/FORMATS.md): what fields each has, and what its fields must satisfy together.

import * as is from './fields.js';
import { record, list, wrong, Wrong } from './fields.js';
import { readJson, JsonObject } from './json.js';
import { hex, sha256 } from './bytes.js';
import {
  ATTACHMENTS_MAX,
  CERTIFICATE_BYTES_MAX,
  ENTRY_LIST_MAX,
  ENTRY_NAME_CHARS_MAX,
  ENVELOPE_TTL_MAX_MS,
  NAME_BYTES_MAX,
  ORIGIN_BYTES_MAX,
  PROOF_HASHES_MAX,
  RECEIPT_BODY_BYTES_MAX,
  RECIPIENTS_MAX,
  STATEMENT_BYTES_MAX,
  STATUS_TEXT_CHARS_MAX,
} from './limits.js';
import { utf8 } from './bytes.js';

/**
 * Reads the bytes of a statement. `value` is null where nothing can be read; `refused` says why a strict reader refuses it, or is null.
 * `inconsistent` is true where the form is right and only the fields contradict each other. What is refused is still read as far as it can be,
 * so that the other checks can say what they find.
 */
export function readStatement(kind, bytes) {
  if (bytes.length > kind.bytesMax) return { value: null, refused: `it has ${bytes.length} bytes, more than such a statement may have`, inconsistent: false };
  const { value: json, objection } = readJson(bytes);
  let value = null;
  let form = objection ?? frame(kind, json);
  try {
    value = kind.read(json);
  } catch (error) {
    if (!(error instanceof Wrong)) throw error;
    form ??= error.message;
  }
  const contradiction = value && kind.check(value);
  return { value, refused: form ?? contradiction, inconsistent: form === null && contradiction !== null };
}

/** What `type` says, or null where there is none. */
export function typeOf(bytes) {
  if (bytes.length > STATEMENT_BYTES_MAX) return null;
  const { value } = readJson(bytes);
  return value instanceof JsonObject && !value.doubles.has('type') ? (value.members.get('type') ?? null) : null;
}

function frame(kind, json) {
  if (!(json instanceof JsonObject)) return 'it is no object';
  const [type, version, critical] = ['type', 'v', 'crit'].map((name) => json.members.get(name));
  if (type !== kind.type || version !== 1) return `expected a ${kind.type} of version 1`;
  if (critical === undefined) return null;
  if (!Array.isArray(critical) || !critical.every((name) => typeof name === 'string')) return '`crit` is no list of names';
  return critical.length === 0 ? null : `\`${critical[0].slice(0, 80)}\` is marked as critical, which version 1 does not know`;
}

const kind = (type, read, check = () => null, bytesMax = STATEMENT_BYTES_MAX) => ({ type, read, check, bytesMax });

/** The first rule that does not hold, or null. */
const rules = (...all) => all.find(([holds]) => !holds)?.[1] ?? null;

const sortedOnce = (codes) => codes.every((code, at) => at === 0 || codes[at - 1] < code);

// --- Receipt body -----------------------------------------------------------------------------------------------------------------------------

const provenEntry = record({ bytes: [is.bytes], index: [is.integer], proof: [list(is.digest)] });

export const RECEIPT_BODY = kind(
  'receipt',
  record({
    leaf: [is.bytes],
    preamble: [is.bytes, new Uint8Array()],
    directory: [is.bytes],
    directory_cms: [is.bytes],
    node: [provenEntry],
    agency: [provenEntry, null],
    opening: [record({ salt: [is.bytesOf(32)], manifest: [is.bytes], envelope: [is.bytes] }), null],
  }),
  (body) =>
    rules([
      [body.node, body.agency].every((entry) => entry === null || entry.proof.length <= PROOF_HASHES_MAX),
      `an inclusion proof has at most ${PROOF_HASHES_MAX} hashes`,
    ]),
  RECEIPT_BODY_BYTES_MAX,
);

// --- Bundle -----------------------------------------------------------------------------------------------------------------------------------

export const BUNDLE = kind(
  'bundle',
  record({
    axis: [is.axisId],
    lane: [is.lane],
    envelope: [is.envelopeId],
    sender: [is.agencyId],
    by: [is.agencyId],
    node: [is.nodeId],
    made: [is.time],
    statuses_left_out: [is.integer, 0],
  }),
);

// --- Business status --------------------------------------------------------------------------------------------------------------------------

/** The codes that are read (docs/FORMATS.md, "Business status"). */
export const STATUS_CODES = Array.from({ length: 16 }, (_, at) => String(at + 1).padStart(2, '0'));

export const STATUS = kind(
  'status',
  record({
    status: [is.string],
    code: [is.oneOf(STATUS_CODES, 'a status code')],
    from: [is.agencyId],
    to: [is.agencyId],
    document: [is.envelopeId],
    document_id: [is.string, null],
    reason: [is.string, null],
    staff: [is.string, null],
    sequence: [is.integer],
    time: [is.time],
  }),
  ({ status, code, from, to, document_id: id, reason, staff, sequence }) =>
    rules(
      [status === `urn:truc:status:${code}`, 'status URI and code disagree'],
      [from !== to, 'a status goes to another agency'],
      [[id, reason, staff].every((text) => text === null || [...text].length <= STATUS_TEXT_CHARS_MAX), `a text of a status has at most ${STATUS_TEXT_CHARS_MAX} characters`],
      [code !== '02' || (reason !== null && !/^\p{White_Space}*$/u.test(reason)), 'status 02 needs a reason'],
      [sequence > 0, 'the sequence starts at 1'],
    ),
);

// --- Submission and event ---------------------------------------------------------------------------------------------------------------------

const actor = record({ code: [is.agencyId, null], node: [is.nodeId], role: [is.role] });

const actorRule = ({ code, role }) => [(role === 'relay') === (code === null), 'the relay speaks for no code, everybody else for one'];

export const SUBMISSION = kind(
  'submission',
  record({
    event: [is.event],
    actor: [actor],
    time: [is.time],
    envelope: [is.envelopeId],
    preamble: [is.digest],
    payload: [is.digest],
    payload_length: [is.integer],
    commitment: [is.digest],
    key_envelopes: [is.table(is.agencyId, is.digest)],
    directory: [record({ version: [is.integer], root: [is.digest], entry: [is.digest] })],
  }),
  (submission) =>
    rules(
      actorRule(submission.actor),
      [submission.event === 'SubmissionAcceptance' && submission.actor.role === 'sender', 'a submission is a SubmissionAcceptance by the sender'],
      [submission.key_envelopes.length <= RECIPIENTS_MAX, `at most ${RECIPIENTS_MAX} key envelopes`],
    ),
);

/** The roles in which an event may be stated (docs/FORMATS.md, "Event"). */
export const ROLES = {
  SubmissionAcceptance: ['sender'],
  SubmissionRejection: ['sender'],
  RelayAcceptance: ['relay', 'recipient'],
  RelayRejection: ['relay'],
  RelayFailure: ['relay'],
  ContentConsignment: ['recipient'],
  ContentConsignmentFailure: ['recipient'],
  ContentHandover: ['recipient'],
  ContentHandoverFailure: ['recipient'],
  RelayToNonERDS: ['sender'],
  ReceivedFromNonERDS: ['recipient'],
};

const REFUSALS = ['SubmissionRejection', 'RelayRejection', 'RelayFailure', 'ContentConsignmentFailure', 'ContentHandoverFailure'];

export const EVENT = kind(
  'event',
  record({
    event: [is.event],
    actor: [actor],
    time: [is.time],
    envelope: [is.envelopeId, null],
    sender: [is.agencyId],
    recipient: [is.agencyId, null],
    submission: [is.digest, null],
    preamble: [is.digest, null],
    payload: [is.digest, null],
    commitment: [is.digest, null],
    key_envelope: [is.digest, null],
    reason: [is.reason, null],
    details: [is.digest, null],
    request: [is.digest, null],
    successor: [is.agencyId, null],
  }),
  (event) =>
    rules(
      actorRule(event.actor),
      [event.event !== 'SubmissionAcceptance', 'a SubmissionAcceptance is a `submission`'],
      [ROLES[event.event].includes(event.actor.role), `a ${event.event} is not written in the role ${event.actor.role}`],
      [REFUSALS.includes(event.event) === (event.reason !== null), '`reason` stands in refusals and failures, and only there'],
    ) ?? (event.event === 'SubmissionRejection' ? rejectionRule(event) : envelopeRules(event)),
);

const rejectionRule = (event) => rules([event.request !== null, 'a SubmissionRejection names the refused request']);

function envelopeRules(event) {
  const { actor: by, recipient } = event;
  const named = event.submission !== null || event.event === 'ReceivedFromNonERDS';
  const hashes = [event.envelope, event.preamble, event.payload, event.commitment];
  return rules(
    [named && hashes.every((hash) => hash !== null), `a ${event.event} names envelope, submission, preamble, payload and commitment`],
    [by.role !== 'recipient' || (recipient !== null && recipient === by.code), 'a recipient speaks about its own code'],
    [event.event !== 'RelayToNonERDS' || recipient !== null, 'a RelayToNonERDS names the agency it was passed on for'],
    [by.role !== 'sender' || by.code === event.sender, 'a sender speaks for its own code'],
  );
}

// --- Preamble ---------------------------------------------------------------------------------------------------------------------------------

const supersedes = record({ envelope: [is.envelopeId], recipient: [is.agencyId] });

export const PREAMBLE = kind(
  'preamble',
  record({
    axis: [is.axisId],
    suite: [is.oneOf(['S1'], 'a sealing suite')],
    envelope: [is.envelopeId],
    lane: [is.lane],
    level: [is.level],
    sender: [is.agencyId],
    recipients: [list(is.agencyId)],
    legacy: [list(is.agencyId), []],
    kind: [is.oneOf(['document', 'status'], 'an envelope kind')],
    priority: [(value) => (is.integer(value) <= 4 ? value : wrong('not a priority from 0 to 4'))],
    created: [is.time],
    expires: [is.time],
    supersedes: [supersedes, null],
  }),
  (preamble) => {
    const { recipients, legacy } = preamble;
    const count = recipients.length + legacy.length;
    return rules(
      [count > 0 && count <= RECIPIENTS_MAX, `an envelope has 1 to ${RECIPIENTS_MAX} recipients`],
      [sortedOnce(recipients) && sortedOnce(legacy), 'recipients must be sorted and stand once each'],
      [!legacy.some((code) => recipients.includes(code)), 'a recipient is reached one way'],
      [legacy.length === 0 || preamble.lane === 'ordinary', "nothing of the classified lane goes through today's axis"],
      [![...recipients, ...legacy].includes(preamble.sender), 'an agency cannot send to itself'],
      [preamble.kind !== 'status' || count === 1, 'a status goes to one agency'],
      [preamble.expires > preamble.created, '`expires` must lie after `created`'],
      [preamble.expires - preamble.created <= ENVELOPE_TTL_MAX_MS, 'an envelope lives at most 30 days'],
      [preamble.supersedes?.envelope !== preamble.envelope, 'an envelope cannot supersede itself'],
      [preamble.supersedes === null || count === 1, 'a superseding envelope goes to one recipient'],
    );
  },
);

// --- envelope.json ----------------------------------------------------------------------------------------------------------------------------

export const ENVELOPE = kind(
  'envelope',
  record({
    preamble: [is.digest],
    axis: [is.axisId],
    envelope: [is.envelopeId],
    lane: [is.lane],
    level: [is.level],
    kind: [is.oneOf(['document', 'status'], 'an envelope kind')],
    sender: [is.agencyId],
    recipients: [list(record({ code: [is.agencyId], certificate: [is.digest] }))],
    supersedes: [supersedes, null],
    trace: [list(record({ organ: [is.agencyId], time: [is.time] }))],
    attachments: [list(record({ name: [is.string], length: [is.integer], sha256: [is.digest] }))],
  }),
  (envelope) =>
    rules(
      [envelope.recipients.length <= RECIPIENTS_MAX, `at most ${RECIPIENTS_MAX} recipients`],
      [envelope.attachments.length <= ATTACHMENTS_MAX, `at most ${ATTACHMENTS_MAX} attachments`],
      [envelope.attachments.every(({ name }) => name !== '' && utf8(name).length <= NAME_BYTES_MAX), `an attachment's name has 1 to ${NAME_BYTES_MAX} bytes`],
    ),
);

// --- Directory --------------------------------------------------------------------------------------------------------------------------------

export const ROOT = kind(
  'directory-root',
  record({
    axis: [is.axisId],
    lane: [is.lane],
    version: [is.integer],
    issued: [is.time],
    valid_until: [is.time],
    size: [is.integer],
    root: [is.digest],
    previous: [is.digest, null],
  }),
  (root) =>
    rules(
      [root.version > 0 && (root.version === 1) === (root.previous === null), 'versions start at 1; every later one names the one before'],
      [root.valid_until > root.issued, '`valid_until` must lie after `issued`'],
    ),
);

const certificate = record({
  uses: [list(is.oneOf(['service', 'sealing', 'node', 'tls', 'operator'], 'a key use'))],
  der: [is.bytes],
  sha256: [is.digest],
  algorithms: [list(is.oneOf(['rsa-oaep-sha256', 'ecdh-p256-sha256kdf-aes256-wrap'], 'a sealing algorithm')), []],
  valid_from: [is.time],
  valid_to: [is.time],
  status: [is.oneOf(['good', 'revoked', 'suspended'], 'a key status')],
  status_since: [is.time, null],
});

const agency = record({
  code: [is.agencyId],
  names: [list(is.string)],
  parent: [is.agencyId, null],
  old_codes: [list(is.foreignCode), []],
  valid_from: [is.time],
  valid_to: [is.time, null],
  serves_until: [is.time, null],
  successor: [is.agencyId, null],
  route: [is.oneOf(['native', 'legacy'], 'a route')],
  node: [is.nodeId, null],
  lanes: [list(is.lane)],
  certificates: [list(certificate), []],
});

const node = record({
  id: [is.nodeId],
  lane: [is.lane],
  origin: [is.string],
  epoch: [is.integer],
  ledger_key: [is.bytesOf(32)],
  witness_key: [is.bytesOf(32), null],
  certificates: [list(certificate)],
});

const operator = record({ name: [is.string], certificates: [list(certificate)] });

const ENTRY_KINDS = {
  agency: [agency, ['service', 'sealing']],
  node: [node, ['node', 'tls']],
  relay: [node, ['node', 'tls']],
  operator: [operator, ['operator']],
};

export const ENTRY = kind(
  'entry',
  (json) => {
    const { kind: name } = record({ kind: [is.oneOf(Object.keys(ENTRY_KINDS), 'a kind of entry')] })(json);
    return { kind: name, ...ENTRY_KINDS[name][0](json) };
  },
  (entry) => {
    const uses = ENTRY_KINDS[entry.kind][1];
    const own = { agency: agencyRules, node: originRule, relay: originRule, operator: nameRule }[entry.kind](entry);
    if (own !== null) return own;
    if (entry.certificates.length > ENTRY_LIST_MAX) return `at most ${ENTRY_LIST_MAX} certificates`;
    for (const bound of entry.certificates) {
      const broken = certificateRules(bound, uses);
      if (broken !== null) return broken;
    }
    return null;
  },
);

const isText = (text, max) => !/^\p{White_Space}*$/u.test(text) && !/\p{Cc}/u.test(text) && [...text].length <= max;

const originRule = (entry) => rules([isText(entry.origin, ORIGIN_BYTES_MAX), '`origin` is a line of text']);
const nameRule = (entry) => rules([isText(entry.name, ENTRY_NAME_CHARS_MAX), '`name` is a line of text']);

const agencyRules = (entry) =>
  rules(
    [entry.names.length > 0 && entry.names.length <= ENTRY_LIST_MAX && entry.old_codes.length <= ENTRY_LIST_MAX, `1 to ${ENTRY_LIST_MAX} names and at most as many old codes`],
    [entry.names.every((name) => isText(name, ENTRY_NAME_CHARS_MAX)), 'a name is a line of text'],
    [entry.valid_to === null || entry.valid_to > entry.valid_from, '`valid_to` must lie after `valid_from`'],
    [entry.successor !== entry.code, 'an agency cannot succeed itself'],
    [entry.serves_until === null || entry.valid_to !== null, '`serves_until` stands only with a closed code'],
    [entry.lanes.length > 0 && entry.lanes.length <= 2, 'an agency takes part in one or two lanes'],
  );

const certificateRules = (bound, uses) =>
  rules(
    [bound.uses.length > 0 && bound.uses.length <= 5, 'a certificate has at least one use'],
    [bound.der.length <= CERTIFICATE_BYTES_MAX, `a certificate has at most ${CERTIFICATE_BYTES_MAX} bytes`],
    [hex(sha256(bound.der)) === bound.sha256, 'certificate bytes do not hash to `sha256`'],
    [bound.valid_to > bound.valid_from, "a certificate's `valid_to` must lie after `valid_from`"],
    [(bound.status === 'good') === (bound.status_since === null), '`status_since` stands with `revoked` and `suspended`, and only there'],
    [bound.uses.includes('sealing') !== (bound.algorithms.length === 0), '`algorithms` stand with the use `sealing`, and only there'],
    [bound.uses.every((use) => uses.includes(use)), 'a certificate is for a use that does not belong to this entry'],
  );
