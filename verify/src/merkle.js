// RFC 6962 hashes and inclusion proofs.

import { equal, sha256 } from './bytes.js';

const LEAF = new Uint8Array([0]);
const NODE = new Uint8Array([1]);

export const leafHash = (bytes) => sha256(LEAF, bytes);

/**
 * Whether `proof` leads from a leaf's hash at `index` to the root over `size` leaves (RFC 9162 2.1.3.2). Numbers are BigInt: a ledger may have 2^63 leaves.
 * Gives null, or why not.
 */
export function inclusionFault(hash, index, size, proof, root) {
  if (index >= size) return `leaf ${index} does not stand in a tree of ${size}`;
  let place = index;
  let last = size - 1n;
  let node = hash;
  for (const sibling of proof) {
    if (last === 0n) return 'the proof is too long';
    if (place % 2n === 1n || place === last) {
      node = sha256(NODE, sibling, node);
      while (place % 2n === 0n && place !== 0n) {
        place /= 2n;
        last /= 2n;
      }
    } else {
      node = sha256(NODE, node, sibling);
    }
    place /= 2n;
    last /= 2n;
  }
  if (last !== 0n) return 'the proof is too short';
  return equal(node, root) ? null : 'the proof leads to another root';
}
