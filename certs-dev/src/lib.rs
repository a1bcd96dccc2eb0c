//! A development PKI shaped like the Government Cipher Committee's; every subject says DEV.
