//! Object identifiers of the structures this crate reads and writes.

use der::asn1::ObjectIdentifier;

macro_rules! oids {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: ObjectIdentifier = ObjectIdentifier::new_unwrap($text);)*
    };
}

oids! {
    // Content types (RFC 5652, RFC 5083)
    DATA = "1.2.840.113549.1.7.1";
    SIGNED_DATA = "1.2.840.113549.1.7.2";
    AUTH_ENVELOPED_DATA = "1.2.840.113549.1.9.16.1.23";
    /// id-ct-TSTInfo (RFC 3161 2.4.2)
    TST_INFO = "1.2.840.113549.1.9.16.1.4";
    // Attributes (RFC 5652 11, RFC 5035, RFC 2634, RFC 3161)
    CONTENT_TYPE = "1.2.840.113549.1.9.3";
    MESSAGE_DIGEST = "1.2.840.113549.1.9.4";
    SIGNING_TIME = "1.2.840.113549.1.9.5";
    SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.47";
    SIGNING_CERTIFICATE = "1.2.840.113549.1.9.16.2.12";
    TIME_STAMP_TOKEN = "1.2.840.113549.1.9.16.2.14";
    // Algorithms
    SHA1 = "1.3.14.3.2.26";
    SHA384 = "2.16.840.1.101.3.4.2.2";
    SHA512 = "2.16.840.1.101.3.4.2.3";
    SHA256 = "2.16.840.1.101.3.4.2.1";
    RSA = "1.2.840.113549.1.1.1";
    RSA_OAEP = "1.2.840.113549.1.1.7";
    MGF1 = "1.2.840.113549.1.1.8";
    RSA_PSS = "1.2.840.113549.1.1.10";
    RSA_SHA256 = "1.2.840.113549.1.1.11";
    RSA_SHA384 = "1.2.840.113549.1.1.12";
    RSA_SHA512 = "1.2.840.113549.1.1.13";
    RSA_MD2 = "1.2.840.113549.1.1.2";
    RSA_MD5 = "1.2.840.113549.1.1.4";
    RSA_SHA1 = "1.2.840.113549.1.1.5";
    ECDSA_SHA1 = "1.2.840.10045.4.1";
    ECDSA_SHA256 = "1.2.840.10045.4.3.2";
    ECDSA_SHA384 = "1.2.840.10045.4.3.3";
    ECDSA_SHA512 = "1.2.840.10045.4.3.4";
    EC_PUBLIC_KEY = "1.2.840.10045.2.1";
    P256 = "1.2.840.10045.3.1.7";
    P384 = "1.3.132.0.34";
    AES256_GCM = "2.16.840.1.101.3.4.1.46";
    AES256_WRAP = "2.16.840.1.101.3.4.1.45";
    /// dhSinglePass-stdDH-sha256kdf-scheme (RFC 5753 7.1.4)
    STD_DH_SHA256_KDF = "1.3.132.1.11.1";
    // CRL extensions (RFC 5280 5.2, 5.3)
    CRL_REASON = "2.5.29.21";
    CRL_ISSUING_DISTRIBUTION_POINT = "2.5.29.28";
    CRL_DELTA_INDICATOR = "2.5.29.27";
    CRL_NUMBER = "2.5.29.20";
    AUTHORITY_KEY_IDENTIFIER = "2.5.29.35";
    CRL_INVALIDITY_DATE = "2.5.29.24";
    // OCSP (RFC 6960 4.1, 4.2.2.2.1, 4.4)
    OCSP_BASIC = "1.3.6.1.5.5.7.48.1.1";
    OCSP_NONCE = "1.3.6.1.5.5.7.48.1.2";
    OCSP_NO_CHECK = "1.3.6.1.5.5.7.48.1.5";
    /// id-ad-ocsp (RFC 5280 4.2.2.1)
    AD_OCSP = "1.3.6.1.5.5.7.48.1";
    CRL_CERTIFICATE_ISSUER = "2.5.29.29";
    // Certificate extensions and policies (RFC 5280 4.2.1)
    KEY_USAGE = "2.5.29.15";
    SUBJECT_ALT_NAME = "2.5.29.17";
    BASIC_CONSTRAINTS = "2.5.29.19";
    NAME_CONSTRAINTS = "2.5.29.30";
    CRL_DISTRIBUTION_POINTS = "2.5.29.31";
    CERTIFICATE_POLICIES = "2.5.29.32";
    ANY_POLICY = "2.5.29.32.0";
    POLICY_MAPPINGS = "2.5.29.33";
    POLICY_CONSTRAINTS = "2.5.29.36";
    EXTENDED_KEY_USAGE = "2.5.29.37";
    INHIBIT_ANY_POLICY = "2.5.29.54";
    /// emailAddress in a name (PKCS#9).
    EMAIL_ADDRESS = "1.2.840.113549.1.9.1";
    // Requests (RFC 2985 5.4.2)
    EXTENSION_REQUEST = "1.2.840.113549.1.9.14";
    // Extended key usages
    EKU_ANY = "2.5.29.37.0";
    EKU_SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
    EKU_CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";
    EKU_EMAIL_PROTECTION = "1.3.6.1.5.5.7.3.4";
    EKU_TIME_STAMPING = "1.3.6.1.5.5.7.3.8";
    EKU_OCSP_SIGNING = "1.3.6.1.5.5.7.3.9";
    /// id-kp-documentSigning (RFC 9336)
    EKU_DOCUMENT_SIGNING = "1.3.6.1.5.5.7.3.36";
    /// Microsoft document signing, as issued by many national CAs.
    EKU_MS_DOCUMENT_SIGNING = "1.3.6.1.4.1.311.10.3.12";
}
