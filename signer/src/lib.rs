//! Keys and certificates: CMS, CAdES and PAdES signatures, sealing, containers, path validation and revocation, storage keys.
//!
//! Knows nothing of ledgers, directories or networks; time comes in as a value. A certificate fits a code only if the
//! directory says so, which is not decided here. No `rsa` crate, and of `cms` not even the types: signatures are verified
//! over the bytes received, so structures are read as slices of them ([`cms`], `asn1`).

pub mod asic;
mod asn1;
pub mod certificate;
pub mod cms;
pub mod crl;
mod extension;
mod files;
mod general_name;
mod hash;
pub mod keyenvelope;
pub mod keyfile;
pub mod keys;
mod name;
pub mod ocsp;
mod oid;
pub mod pades;
pub mod path;
pub mod public_key;
pub mod request;
pub mod softkey;
pub mod storage;
pub mod stream;
pub mod timestamp;
pub mod token;

pub use certificate::{Certificate, CertificateError, PemError, pem_text};
pub use cms::{CmsError, CmsSignature, sign_detached, verify_detached};
pub use crl::{Crl, CrlError, RevocationReason};
pub use files::FileError;
pub use keyenvelope::{OpenError, SealError, SealingAlgorithm, is_sealed_to, open_key, seal_key};
pub use keyfile::{KeyFile, KeyFileError, KeyFileWriter};
pub use keys::{OpeningKey, OpeningKeyError, SignError, SigningKey};
pub use ocsp::{OcspAnswer, OcspError, OcspNonce, OcspRequest, OcspStatus};
pub use pades::{AddTimeStamp, PdfSignError, PdfSignature, SignatureBox, sign_pdf};
pub use path::{
    CertificateUse, OcspAnswers, PathError, PolicySettings, TrustStore, TrustStoreError, Verdict, WhyUnknown, validate,
    validate_for_any_use, validate_settled, validate_with,
};
pub use public_key::{KeyKind, PublicKey, PublicKeyError, SignatureInvalid, SignatureScheme, verify_raw};
pub use request::{NewKey, NewKeyError, NewKeyKind};
pub use softkey::{SoftKey, SoftKeyError};
pub use storage::{StorageKey, StorageKeyError, WrapError};
pub use timestamp::{
    TimeStamp, TimeStampError, TimeStampNonce, TimeStampPolicy, TimeStampRequest, Worth, certificates_of_stamps,
};
pub use token::{ObjectName, Pin, Token, TokenError, TokenKey, TokenWay};
