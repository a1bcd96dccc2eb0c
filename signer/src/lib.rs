//! Keys and certificates: CMS and CAdES, sealing, containers, path validation.
