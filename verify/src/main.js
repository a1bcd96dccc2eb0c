// Starts the page, and offers the verifier to programs: how the corpus is put through exactly what people use.

import { CHECKS, verifyReceipt } from './checks.js';
import { fromBase64, utf8 } from './bytes.js';
import { readDocument } from './document.js';
import { readTrust } from './trust.js';
import { start } from './page.js';

const blobOf = (base64) => new Blob([fromBase64(base64)]);

/** One receipt; bytes in base64, certificates and lists in PEM, `now` in milliseconds since 1970. */
async function verify({ receipt, trust, operator, lists, document, now, ed25519ByLibrary }) {
  const given = readTrust([utf8(trust)], [utf8(operator)], lists === '' ? [] : [utf8(lists)]);
  if (given.refused !== undefined) return given;
  const shown = document === null ? null : await readDocument(blobOf(document));
  return verifyReceipt(fromBase64(receipt), given, shown, now, { ed25519ByLibrary });
}

globalThis.trucVerify = { checks: Object.keys(CHECKS), verify };

start();
