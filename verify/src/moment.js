// Times for people: Vietnam's clock, whoever reads it where.

const format = new Intl.DateTimeFormat('en-GB', {
  timeZone: 'Asia/Ho_Chi_Minh',
  year: 'numeric',
  month: '2-digit',
  day: '2-digit',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
});

/** `22/11/2026 10:00:00`, in Vietnam's time. */
export const moment = (ms) => format.format(ms).replace(',', '');
