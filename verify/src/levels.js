// What a receipt rests on (docs/FORMATS.md, "Verifying a receipt"): each level by the checks that must all have passed.

const RESTS_ON = {
  signed: ['ledger-signature', 'certificate-signature', 'certificate-signer'],
  witnessed: ['witnesses'],
  stamped: ['time-stamps'],
};

/** All, in rising order. */
export const LEVELS = Object.keys(RESTS_ON);

export const levelsOf = (steps) => {
  const isPassed = (wanted) => steps.some(({ check, outcome }) => check === wanted && outcome === 'passed');
  return LEVELS.filter((level) => RESTS_ON[level].every(isPassed));
};
