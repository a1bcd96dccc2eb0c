// Bounds on everything that is read. The same as in proto/src/limits.rs where both have one: a larger input is refused by both.

export const RECEIPT_BYTES_MAX = 4 * 1024 * 1024;
export const RECEIPT_BODY_BYTES_MAX = (RECEIPT_BYTES_MAX / 4) * 3;
export const STATEMENT_BYTES_MAX = 256 * 1024;
export const JSON_DEPTH_MAX = 16;
export const NOTE_BYTES_MAX = 512 * 1024;
export const NOTE_SIGNATURES_MAX = 100;
export const POLICY_BYTES_MAX = 256 * 1024;
export const POLICY_LINES_MAX = 4_096;
export const NAME_OF_KEY_BYTES_MAX = 255;
export const ORIGIN_BYTES_MAX = 255;
export const PROOF_HASHES_MAX = 64;
export const RECIPIENTS_MAX = 1_000;
export const ENVELOPE_TTL_MAX_MS = 30 * 86_400_000;
export const DIRECTORY_GRACE_MS = 30 * 86_400_000;
export const SKEW_MS = 5 * 60_000;
export const ATTACHMENTS_MAX = 500;
export const NAME_BYTES_MAX = 1_024;
export const ENTRY_LIST_MAX = 64;
export const ENTRY_NAME_CHARS_MAX = 500;
export const AGENCY_ID_BYTES_MAX = 35;
export const FOREIGN_CODE_CHARS_MAX = 100;
export const CERTIFICATE_BYTES_MAX = 16 * 1024;
export const PEM_BYTES_MAX = 1024 * 1024;
export const PEM_CERTIFICATES_MAX = 256;
export const CMS_BYTES_MAX = 1024 * 1024;
export const CMS_DEPTH_MAX = 32;
export const CMS_CERTIFICATES_MAX = 16;
export const CMS_ATTRIBUTES_MAX = 32;
export const STAMP_BYTES_MAX = 64 * 1024;
export const STAMP_ACCURACY_MS_MAX = 60_000;
export const CRL_BYTES_MAX = 64 * 1024 * 1024;
export const CRL_ENTRIES_MAX = 1_000_000;
export const TRUST_ITEMS_MAX = 256;
export const MANIFEST_BYTES_MAX = 4 * 1024 * 1024;
export const CONTAINER_ENTRIES_MAX = 1_000;
export const BUNDLE_ENTRIES_MAX = 12_000;
export const CONTAINER_BYTES_MAX = 8 * 1024 * 1024 * 1024 - 1024 * 1024;
export const ENTRY_NAME_BYTES_MAX = 2_048;
export const MEDIA_TYPE_BYTES_MAX = 255;
export const CONTAINER_RATIO_MAX = 200;
export const CONTAINER_RATIO_GRACE_BYTES = 16 * 1024 * 1024;
export const SIGNATURE_BYTES_MAX = 256 * 1024;

// Bounds of the path search: as many authorities between a certificate and its anchor, as many signatures looked at in all.
export const PATH_AUTHORITIES_MAX = 6;
export const PATH_SIGNATURES_MAX = 100;
// The page: receipts checked at once, and the largest document (it is hashed piece by piece).
export const RECEIPTS_MAX = 500;
export const DOCUMENT_BYTES_MAX = 8 * 1024 * 1024 * 1024;
