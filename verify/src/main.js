// Starts the page, and offers the verifier to programs: how the corpus is put through exactly what people use.

import { BUNDLE_CHECKS, verifyBundle } from './bundle.js';
import { CHECKS, verifyReceipt } from './checks.js';
import { STATUS_CHECKS } from './statuses.js';
import { fromBase64, utf8 } from './bytes.js';
import { readDocument } from './document.js';
import { readTrust } from './trust.js';
import { start } from './page.js';

const blobOf = (base64) => new Blob([fromBase64(base64)]);

/** One receipt, or one bundle; bytes and OCSP answers in base64, certificates and lists in PEM, the policy as text or null, `now` in milliseconds since 1970. */
async function verify({ receipt, bundle, trust, operator, lists, answers = [], policy = null, document, now, ed25519ByLibrary }) {
  const listFiles = [...(lists === '' ? [] : [utf8(lists)]), ...answers.map(fromBase64)];
  const given = readTrust([utf8(trust)], [utf8(operator)], listFiles, policy === null ? [] : [utf8(policy)]);
  if (given.refused !== undefined) return given;
  const shown = document === null ? null : await readDocument(blobOf(document));
  if (bundle !== undefined) return verifyBundle(blobOf(bundle), given, shown, now, { ed25519ByLibrary });
  return verifyReceipt(fromBase64(receipt), given, shown, now, { ed25519ByLibrary });
}

globalThis.trucVerify = { checks: Object.keys(CHECKS), bundleChecks: Object.keys(BUNDLE_CHECKS), statusChecks: Object.keys(STATUS_CHECKS), verify };

start();
