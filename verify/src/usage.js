// What a certificate may be used for: keyUsage (RFC 5280 4.2.1.3) and extended key usage (4.2.1.12).

// Purposes that fit signing, where the extension is there at all: emailProtection, documentSigning (RFC 9336), Microsoft's, any.
const SIGNING_PURPOSES = ['1.3.6.1.5.5.7.3.4', '1.3.6.1.5.5.7.3.36', '1.3.6.1.4.1.311.10.3.12', '2.5.29.37.0'];

/** Which keyUsages will do; one of them must be there. */
const SIGNS = ['digitalSignature', 'nonRepudiation'];
const USES = { node: ['digitalSignature'], operator: SIGNS, service: SIGNS, timeStamping: SIGNS, ocsp: SIGNS };
const TIME_STAMPING = '1.3.6.1.5.5.7.3.8';
const OCSP_SIGNING = '1.3.6.1.5.5.7.3.9';

/** Why a certificate may not be used for this; null where it may. */
export function useFault(certificate, use) {
  if (certificate.isCa) return 'it is the certificate of an authority, whose key signs certificates only';
  if (certificate.keyUsage === null) return 'it carries no keyUsage, so it does not say what it is for';
  if (!USES[use].some((wanted) => certificate.keyUsage.includes(wanted))) return `its keyUsage lacks ${USES[use].join(' and ')}`;
  const purposes = certificate.extendedKeyUsage;
  // RFC 3161 2.3: critical, and nothing else.
  if (use === 'timeStamping') return purposes?.join() === TIME_STAMPING && certificate.isPurposeCritical ? null : 'its extended key usage is not timeStamping, critical and alone';
  if (use === 'ocsp') return purposes?.includes(OCSP_SIGNING) ? null : 'its extended key usage lacks OCSPSigning';
  return purposes === null || purposes.some((purpose) => SIGNING_PURPOSES.includes(purpose)) ? null : 'its extended key usage names neither emailProtection nor document signing';
}
